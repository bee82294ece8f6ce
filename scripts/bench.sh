#!/usr/bin/env bash
# Usage: scripts/bench.sh [NAME…]
#
# Measures, in one run and interleaved, and prints ratios with their targets as
# a table and as target/bench/latest.json. Asserts nothing: a target that is not
# met is shown as such. About ten minutes once everything is built.
#   creds   issuing through a real Vault, against the same engine on Vault's Go
#           SDK (tests/yardstick): latency, rate, memory, start, revocation
#   gateway calls beside nginx, governed beside not, and with many keys
#   ledger  processor time a call, and memory a cached key
# Without a name it runs all. ROUNDS (5) says how often each case is measured.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib/say.sh
. "$repo/scripts/lib/say.sh"
cd "$repo"

names=("$@")
[ "${#names[@]}" -gt 0 ] || names=(creds gateway ledger)
for name in "${names[@]}"; do
  case $name in
    creds | gateway | ledger) ;;
    *)
      sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
      exit 2
      ;;
  esac
done

target=${CARGO_TARGET_DIR:-$repo/target}
out=$target/bench
mkdir -p "$out/bin"

build_creds() {
  command -v go >/dev/null 2>&1 || fail "the yardstick needs go 1.25 or newer"
  need openssl openssl
  need python3 python3
  (cd tests/yardstick && CGO_ENABLED=0 go build -ldflags '-s -w' -o "$out/bin/" ./...) || return
  cargo build --release --locked --quiet -p vault-plugin-secrets-litellm || return
  cp "$target/release/vault-plugin-secrets-litellm" "$out/bin/"
  vault=$(scripts/servers.sh vault)
}

build_gateway() {
  need nginx nginx-light
  need taskset util-linux
  need python3 python3
  cargo build --release --locked --quiet -p llm-proxy -p load || return
  cp "$target/release/llm-proxy" "$target/release/load" "$out/bin/"
}

for name in "${names[@]}"; do
  case $name in
    creds)
      timed "building what creds compares" build_creds || fail "the build failed"
      timed "creds" python3 tests/bench/creds.py --vault "$vault" --bin "$out/bin" --rounds "${ROUNDS:-5}" \
        --json "$out/latest.json"
      ;;
    gateway)
      timed "building what gateway compares" build_gateway || fail "the build failed"
      timed "gateway" python3 tests/bench/gateway.py --bin "$out/bin" --rounds "${ROUNDS:-5}" \
        --json "$out/latest.json"
      ;;
    ledger)
      timed "ledger" tests/bench/ledger.sh "$out/ledger.json"
      ;;
  esac
done
