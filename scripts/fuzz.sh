#!/usr/bin/env bash
# Usage: scripts/fuzz.sh [SECONDS] [TARGET…]
#
# Runs each fuzz target of plugin/fuzz (or those named) for SECONDS (60), with
# its corpus to begin with. An input that breaks a property fails the run and
# is kept under target/fuzz; once mended, it belongs into the corpus, which the
# unit tests replay. Needs Rust's nightly toolchain and a C++ compiler.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib/say.sh
. "$repo/scripts/lib/say.sh"
cd "$repo"

seconds=${1:-60}
case $seconds in
  '' | *[!0-9]*)
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
shift || true

need c++ g++
rustc +nightly --version >/dev/null 2>&1 \
  || fail "fuzzing needs Rust's nightly toolchain: rustup toolchain install nightly"
tool cargo-fuzz
target=${CARGO_TARGET_DIR:-$repo/target}
export CARGO_TARGET_DIR=$target
fuzz=(cargo +nightly fuzz)
PATH=$CACHE/tools/bin:$PATH
# There is no unsafe code for a sanitizer to watch, and it costs half the speed.
options=(--fuzz-dir plugin/fuzz --sanitizer none)

targets=("$@")
if [ "${#targets[@]}" = 0 ]; then
  mapfile -t targets < <("${fuzz[@]}" list --fuzz-dir plugin/fuzz)
fi
timed "building the fuzz targets" "${fuzz[@]}" build "${options[@]}" >&2

run() {
  local name=$1 found=$target/fuzz/$1
  mkdir -p "$found/corpus"
  # New inputs go to the first folder, so the repository's stays small.
  "${fuzz[@]}" run "${options[@]}" "$name" "$found/corpus" "plugin/fuzz/corpus/$name" -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -artifact_prefix="$found/" \
    >"$found/log" 2>&1 && { tail -n 1 "$found/log" >&2; return; }
  tail -n 40 "$found/log" >&2
  return 1
}

# One on each core.
declare -A running=()
for name in "${targets[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do sleep 0.2; done
  timed "fuzzing $name" run "$name" &
  running[$name]=$!
done
failed=()
for name in "${targets[@]}"; do
  wait "${running[$name]}" || failed+=("$name")
done
[ "${#failed[@]}" = 0 ] || fail "found something: ${failed[*]}"
say "${#targets[@]} targets, $seconds s each: nothing found"
