#!/usr/bin/env bash
# Usage: scripts/test.sh [--slow] [--release] [FILTER]
#
# Installs what the tests need, checks, builds and runs them all: unit tests,
# and end to end on real Vault and OpenBao servers. With FILTER only the tests
# whose name contains it, without the checks. --slow adds mutants and what takes
# over a minute, in modules whose name begins with slow_. --release is the tests
# end to end alone, on the gateway as scripts/release.sh builds it. A server that
# can't be had is a failure. Ends with the test runner's own summary.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib/say.sh
. "$repo/scripts/lib/say.sh"
cd "$repo"

# Most of the end-to-end tests' time is waiting for servers' timers.
E2E_THREADS=${E2E_THREADS:-8}

slow=false
release=false
filter=()
for argument in "$@"; do
  case $argument in
    --slow) slow=true ;;
    --release) release=true ;;
    -*)
      sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
      exit 2
      ;;
    *) filter=("$argument") ;;
  esac
done

# Whatever a run leaves behind when it is cut short carries this in its
# environment, and nothing else does.
E2E_RUN=llm-proxy-e2e-$$-$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
export E2E_RUN
clean_up() {
  trap '' INT TERM
  local environment pid
  for environment in /proc/[0-9]*/environ; do
    pid=${environment#/proc/}
    pid=${pid%/environ}
    [ "$pid" = $$ ] && continue
    grep -qz "^E2E_RUN=$E2E_RUN$" "$environment" 2>/dev/null && kill -9 "$pid" 2>/dev/null
  done
  return 0
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The servers are asked for one by one, so that each failure names its server.
obtain() {
  local name path
  local names=(vault bao postgres openai)
  if $slow; then names+=(litellm); fi
  for name in "${names[@]}"; do
    path=$("$repo/scripts/servers.sh" "$name") || fail "$name can't be had"
    declare -gx "E2E_${name^^}=$path"
  done
}

ships() {
  E2E_GATEWAY=$("$repo/scripts/release.sh") && export E2E_GATEWAY
}

features=llm-proxy/failpoints,vault-plugin-secrets-litellm/failpoints
whole=false
[ "${#filter[@]}" != 0 ] || $release || whole=true

if $whole; then
  timed "checks" "$repo/scripts/check.sh" || fail "scripts/check.sh found something"
fi
timed "servers" obtain
if [ "${#filter[@]}" = 0 ]; then
  # The demonstration's own build, so that its tests measure a warm run.
  timed "building (release)" cargo build --locked --quiet --release -p llm-proxy -p vault-plugin-secrets-litellm
fi
if ! $release; then
  timed "unit tests" cargo test --locked --quiet --workspace --exclude e2e -- "${filter[@]}"
  if $slow; then
    timed "unit tests with failpoints" cargo test --locked --quiet \
      -p llm-proxy -p vault-plugin-secrets-litellm --features "$features" -- "${filter[@]}"
  fi
fi
if $whole && $slow; then
  timed "fuzzing" "$repo/scripts/fuzz.sh" || fail "scripts/fuzz.sh found something"
fi
timed "building with failpoints" cargo build --locked --quiet \
  -p llm-proxy -p vault-plugin-secrets-litellm --features "$features"
timed "building the SDK's examples" cargo build --locked --quiet -p vault-plugin-sdk --examples
if $whole && $slow; then
  timed "planted mutants" "$repo/scripts/mutants.sh" || fail "a planted mutant was not caught"
fi
if $release; then
  timed "building what ships" ships || fail "scripts/release.sh failed"
  # What it arms in the gateway is not in what ships.
  filter+=(--skip i2_)
fi
say "end-to-end tests …"
$slow || filter+=(--skip slow_)
cargo test --locked -p e2e -- --test-threads "$E2E_THREADS" "${filter[@]}"
