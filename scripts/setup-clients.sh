#!/usr/bin/env bash
# Builds the client programs of tests/clients into target/clients, each with its language's own package client.
#
#   scripts/setup-clients.sh [python-fastapi|node|rust|java|go]...      (default: all)
#
# Quick when nothing changed: a stamp holds the sum of the client's files and the version of its runtime.
# ARGAND_CLIENTS_DIR puts the results elsewhere. Exit status: 0 done, 1 failed, 2 no such client, 77 a
# runtime is missing (one named client only; with several or none, a client without its runtime is told and left out).
set -Eeuo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
sources=$root/tests/clients
output=${ARGAND_CLIENTS_DIR:-$root/target/clients}
readonly root sources output
readonly all_clients=(python-fastapi node rust java go)
readonly missing_runtime=77

tools_of() {
  case $1 in
    python-fastapi) echo python3 ;;
    node) echo node npm ;;
    rust) echo cargo ;;
    java) echo java javac mvn ;;
    go) echo go ;;
  esac
}

missing_of() {
  local tool missing=()
  for tool in $(tools_of "$1"); do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  if [[ $1 == python-fastapi && ${#missing[@]} == 0 ]] && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    missing+=(python3-venv)
  fi
  echo "${missing[*]}"
}

runtime_version_of() {
  case $1 in
    python-fastapi) python3 --version ;;
    node) node --version ;;
    rust) (cd "$sources/rust" && cargo --version) ;;
    java) java --version ;;
    go) go version ;;
  esac
}

stamp_of() {
  {
    runtime_version_of "$1" 2>&1
    (cd "$sources/$1" && find . -type f -not -path './target/*' -not -path './node_modules/*' -print0 \
      | LC_ALL=C sort -z | xargs -0 sha256sum)
  } | sha256sum | cut -d ' ' -f 1
}

build() {
  local from=$sources/$1 into=$output/$1
  case $1 in
    python-fastapi)
      python3 -m venv --clear "$into/venv"
      "$into/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$from/requirements.txt"
      ;;
    node)
      cp "$from"/{package.json,package-lock.json,.npmrc,main.js} "$into/"
      npm ci --loglevel=error --no-audit --no-fund --prefix "$into"
      ;;
    rust) (cd "$from" && CARGO_TARGET_DIR=$into cargo build --quiet --release --locked) ;;
    java) mvn --batch-mode --quiet -Dstyle.color=never --file "$from/pom.xml" "-Dclient.output=$into" package ;;
    go) (cd "$from" && go build -o "$into/client" .) ;;
  esac
}

set_up() {
  local stamp stamp_file=$output/$1/.stamp
  stamp=$(stamp_of "$1")
  if [[ -f $stamp_file && $(<"$stamp_file") == "$stamp" ]]; then
    return 0
  fi
  echo "building client $1"
  mkdir -p "$output/$1"
  rm -f "$stamp_file"
  build "$1"
  echo "$stamp" >"$stamp_file"
}

check_names() {
  local name
  for name in "$@"; do
    if [[ " ${all_clients[*]} " != *" $name "* ]]; then
      echo "no client is called $name; there are: ${all_clients[*]}" >&2
      exit 2
    fi
  done
}

main() {
  local client missing
  check_names "$@"
  mkdir -p "$output"
  # Two test runs at once must not build into one folder.
  exec 9>"$output/.lock"
  ! command -v flock >/dev/null || flock 9
  for client in "${@:-${all_clients[@]}}"; do
    missing=$(missing_of "$client")
    if [[ -n $missing ]]; then
      echo "SKIPPED $client: missing $missing"
      [[ $# == 1 ]] && exit "$missing_runtime"
      continue
    fi
    trap '((BASH_SUBSHELL)) || echo "building client $client failed" >&2; exit 1' ERR
    set_up "$client"
    trap - ERR
  done
}

main "$@"
