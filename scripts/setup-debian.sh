#!/usr/bin/env bash
# Installs what building and testing need on Debian 12 or newer, as root or through sudo. Does nothing that is done.
#
#   scripts/setup-debian.sh run     what a build needs: C compiler, clang for BPF, libelf, zlib, make, Node.js with npm, Rust
#   scripts/setup-debian.sh test    also what the tests use: Chromium, and the runtimes of the client programs
#                                   (Python with venv, JDK with Maven, Go); one that cannot be had is told and left out
#
# One line per action. Exit status: 0 all of `run` is there, 1 something of it is missing (told), 2 wrong usage.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly node_major_min=20
readonly go_minor_min=25

have() { command -v "$1" >/dev/null; }
say() { echo "setup: $*"; }
fail() {
  echo "setup: $*" >&2
  exit 1
}

may_be_root() {
  [[ $EUID == 0 ]] || { have sudo && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; }
}

as_root() {
  if [[ $EUID == 0 ]]; then
    "$@"
  else
    sudo "$@"
  fi
}

apt_updated=no
# The list of packages of a bare machine is empty until the first update.
apt_update() {
  [[ $apt_updated == no ]] || return 0
  say "apt-get update"
  as_root apt-get update -qq && apt_updated=yes
}

# Installs Debian packages; false when that is impossible here, told in one line.
apt_install() {
  if ! have apt-get; then
    say "this is no Debian: install what Debian calls $*"
    return 1
  fi
  if ! may_be_root; then
    say "no root and no sudo: as root, run apt-get update && apt-get install $*"
    return 1
  fi
  apt_update || return 1
  say "apt-get install $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

apt_offers() {
  have apt-cache && [[ $(LC_ALL=C apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[0-9]* ]]
}

set_up_compilers() {
  local wanted=()
  have cc && echo 'int main(void){return 0;}' | cc -x c -o /dev/null - 2>/dev/null || wanted+=(gcc libc6-dev)
  have make || wanted+=(make)
  have curl || wanted+=(curl)
  # For the profiler's kernel side, and for libbpf, which loads it.
  have clang || wanted+=(clang)
  have pkg-config || wanted+=(pkg-config)
  [[ -e /usr/include/libelf.h ]] || wanted+=(libelf-dev)
  [[ -e /usr/include/zlib.h ]] || wanted+=(zlib1g-dev)
  [[ -e /etc/ssl/certs/ca-certificates.crt ]] || wanted+=(ca-certificates)
  [[ ${#wanted[@]} == 0 ]] || apt_install "${wanted[@]}" || fail "the build needs: ${wanted[*]}"
}

node_is_enough() {
  have node && have npm && (($(node --print 'process.versions.node.split(".")[0]') >= node_major_min))
}

set_up_node() {
  node_is_enough && return
  apt_install nodejs npm || true
  hash -r
  node_is_enough || fail "Node.js $node_major_min or newer with npm is needed for the UI and not in this Debian:" \
    "install it from the Node.js project, or use Debian 13"
}

rust_channel() { sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml; }

# In this folder rustup's cargo answers only with the toolchain of rust-toolchain.toml, and would fetch it by itself.
rust_is_enough() {
  have cargo && have rustc || return 1
  local wanted got
  wanted=$(rust_channel)
  got=$(RUSTUP_AUTO_INSTALL=0 rustc --version 2>/dev/null | cut -d ' ' -f 2)
  [[ -n $got && $(printf '%s\n' "$wanted" "$got" | sort -V | head -n 1) == "$wanted" ]]
}

set_up_rust() {
  [[ -d $HOME/.cargo/bin ]] && PATH=$PATH:$HOME/.cargo/bin
  rust_is_enough && return
  if ! have rustup && have apt-get && may_be_root && apt_update && apt_offers rustup; then
    apt_install rustup || true
  fi
  have rustup || fail "Rust $(rust_channel) is needed and this Debian has no package rustup:" \
    "install rustup from the Rust project, then run this again"
  say "rustup toolchain install $(rust_channel)"
  rustup toolchain install "$(rust_channel)" --profile minimal --component clippy --component rustfmt --no-self-update \
    >/dev/null || fail "rustup could not install Rust $(rust_channel)"
  hash -r
  rust_is_enough || fail "cargo on the PATH is older than Rust $(rust_channel) and comes before rustup's"
}

left_out() { say "left out: $*"; }

go_is_enough() {
  have go || return 1
  local minor
  minor=$(GOTOOLCHAIN=local go env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
  # From 1.21 on, go fetches the newer toolchain that a module asks for, unless it was told not to.
  ((${minor:-0} >= go_minor_min)) || { ((${minor:-0} >= 21)) && [[ $(go env GOTOOLCHAIN) != local ]]; }
}

set_up_test_tools() {
  have chromium || have google-chrome || apt_install chromium || left_out "browser tests, they need Chromium"
  python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3 python3-venv \
    || left_out "Python client, it needs python3 with venv"
  have javac || apt_install default-jdk-headless || left_out "Java client, it needs a JDK"
  have mvn || apt_install maven || left_out "Java client, it needs Maven"
  have go || apt_install golang-go || true
  hash -r
  go_is_enough || left_out "Go client, it needs Go 1.$go_minor_min or a Go that fetches it"
}

main() {
  if [[ $# != 1 || ($1 != run && $1 != test) ]]; then
    echo "usage: scripts/setup-debian.sh run|test" >&2
    exit 2
  fi
  set_up_compilers
  set_up_node
  set_up_rust
  [[ $1 == run ]] || set_up_test_tools
}

main "$@"
