#!/usr/bin/env bash
# Usage: scripts/bench.sh [--write-docs] [NAME…]
#
# Measures, interleaved, and prints ratios with their targets as a table, which
# target/bench/latest.json keeps (previous.json: the run before). Asserts nothing:
# a target that is not met is shown as such. A part with a call that fails, or that
# the machine's host disturbs in each round, keeps its last figures and is named at
# the end.
#   creds    issuing through a real Vault, against the same engine on Vault's Go
#            SDK (tests/yardstick): latency, rate, memory, start, revocation
#   calls    processor time and rate of calls beside nginx, governed on SQLite and
#            on PostgreSQL beside not, large bodies, many keys
#   latency  what a call takes longer than one without a gateway, beside nginx
#   streams  time to the first event and processor time an event beside nginx
#   memory   idle, with many connections, streams and keys; start; binary
#   budget   what a budget of exactly so many calls admits at once
#   rivals   processor time a call of LiteLLM, Portkey and litellm-rs
#   scale    three gateways on one PostgreSQL beside one, and how calls/s grow with them
#   ledger   processor time a call, and memory a cached key
#   profile  where the processor time of a call goes, by perf and strace
#   instructions  where its instructions go, by callgrind, also on a busy machine
# The gateway is built by scripts/release.sh; what the last two divide is not guided.
# Without a name it runs all but these: about 80 minutes with its builds, once what
# scripts/servers.sh fetches is there. `gateway` is all but creds and ledger.
# --write-docs puts what was measured into docs/performance.md and docs/scale.md;
# without a name it measures nothing anew.
# ROUNDS (5) says how often each case is measured, WINDOW (5) for how many seconds.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib/say.sh
. "$repo/scripts/lib/say.sh"
# shellcheck source=scripts/lib/named.sh
. "$repo/scripts/lib/named.sh"
cd "$repo"

GATEWAY=(calls latency streams memory budget rivals scale)
names=()
write_docs=
for name in "$@"; do
  case $name in
    --write-docs) write_docs=1 ;;
    gateway) names+=("${GATEWAY[@]}") ;;
    creds | calls | latency | streams | memory | budget | rivals | scale | ledger | profile | instructions) names+=("$name") ;;
    *)
      sed -n '2,27s/^# \{0,1\}//p' "$0" >&2
      exit 2
      ;;
  esac
done
[ "$#" -gt 0 ] || names=(creds "${GATEWAY[@]}" ledger)

target=${CARGO_TARGET_DIR:-$repo/target}
out=$target/bench
mkdir -p "$out/bin"
need python3 python3

build_creds() {
  command -v go >/dev/null 2>&1 || fail "the yardstick needs go 1.25 or newer"
  need openssl openssl
  (cd tests/yardstick && CGO_ENABLED=0 go build -ldflags '-s -w' -o "$out/bin/" ./...) || return
  cargo build --release --locked --quiet -p vault-plugin-secrets-litellm || return
  cp "$target/release/vault-plugin-secrets-litellm" "$out/bin/"
  vault=$(scripts/servers.sh vault)
}

build_gateway() {
  need nginx nginx-light
  need taskset util-linux
  local gateway
  gateway=$(scripts/release.sh) || return
  cargo build --release --locked --quiet -p load || return
  cp "$gateway" "$target/release/load" "$out/bin/"
  postgres=$(scripts/servers.sh postgres)
}

build_profiled() {
  need perf linux-perf
  need strace strace
  build_named "$target/profile" "-C force-frame-pointers=yes" || return
  mkdir -p "$out/profiled"
  cp "$target/profile/release/llm-proxy" "$out/bin/load" "$out/profiled/"
}

# What does not install is left out, and its row says so.
rivals=()
obtain_rivals() {
  local name folder
  for name in LiteLLM Portkey litellm-rs; do
    if folder=$(scripts/servers.sh "${name,,}"); then
      rivals+=(--rival "$name=$folder")
    else
      say "$name does not install: it is left out"
    fi
  done
}

unmeasured=()
measure() {
  timed "$name" python3 "$@" || unmeasured+=("$name")
}

options=(--rounds "${ROUNDS:-5}" --json "$out/latest.json")
[ "${#names[@]}" = 0 ] || [ ! -e "$out/latest.json" ] || cp "$out/latest.json" "$out/previous.json"
is_built=
for name in "${names[@]}"; do
  case $name in
    creds)
      timed "building what creds compares" build_creds || fail "the build failed"
      measure tests/bench/creds.py --vault "$vault" --bin "$out/bin" "${options[@]}"
      ;;
    ledger)
      measure tests/bench/ledger.py --calls "${CALLS:-100000}" --json "$out/latest.json"
      ;;
    instructions)
      need valgrind valgrind
      timed "building what is counted" build_named "$target/instructions" || fail "the build failed"
      measure tests/bench/counted.py --bin "$target/instructions/release/llm-proxy" --json "$out/latest.json"
      ;;
    *)
      [ -n "$is_built" ] || timed "building the gateway" build_gateway || fail "the build failed"
      is_built=1
      bin=$out/bin
      [ "$name" != rivals ] || obtain_rivals
      if [ "$name" = profile ]; then
        timed "building what is profiled" build_profiled || fail "the build failed"
        bin=$out/profiled
      fi
      measure tests/bench/gateway.py "$name" --bin "$bin" --postgres "$postgres" \
        --seconds "${WINDOW:-5}" "${rivals[@]}" "${options[@]}"
      ;;
  esac
done
[ -z "$write_docs" ] || timed "writing the documents" python3 tests/bench/docs.py --json "$out/latest.json"
[ "${#unmeasured[@]}" = 0 ] || fail "not measured: ${unmeasured[*]}"
