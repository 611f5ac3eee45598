#!/usr/bin/env bash
# Runs the browser tests of the UI against a real server on a free port with a fresh data directory.
#
#   scripts/test-browser.sh PATH-TO-ARGAND
set -euo pipefail

argand=$(realpath "${1:?usage: scripts/test-browser.sh PATH-TO-ARGAND}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
browser=${CHROMIUM:-$(command -v chromium || command -v google-chrome || true)}
if [[ -z $browser ]]; then
  echo "SKIPPED browser tests: Chromium is missing"
  exit 0
fi

data=$(mktemp -d)
log=$data/server.log
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$argand" server --listen "127.0.0.1:$port" --admin-listen off --data-dir "$data/store" --self-profile=false >"$log" 2>&1 &
server=$!
cleanup() {
  kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true
  rm -rf "$data"
}
trap cleanup EXIT

for _ in $(seq 150); do
  curl -fsS "http://127.0.0.1:$port/ready" >/dev/null 2>&1 && break
  kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.1
done
(cd ui && ARGAND_URL="http://127.0.0.1:$port" CHROMIUM="$browser" npm run e2e) || { tail -n 50 "$log" >&2; exit 1; }
