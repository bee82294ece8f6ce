#!/usr/bin/env bash
# Usage: scripts/release.sh
#
# Builds the gateway as it is meant to run in production, guided by a profile of
# calls: first one that counts how often each of its branches is taken, which then
# serves calls of all kinds on SQLite and on PostgreSQL, and with these counts the
# one that is kept. Prints its path. About 20 minutes the first time; where nothing
# has changed, some seconds. Against `cargo build --release`: docs/performance.md.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib/say.sh
. "$repo/scripts/lib/say.sh"
cd "$repo"

target=${CARGO_TARGET_DIR:-$repo/target}
target=$(mkdir -p "$target" && cd "$target" && pwd)
host=$(rustc -vV | sed -n 's/^host: //p')
counts=$target/guided/counts
export LLVM_PROFILE_FILE=$counts/%m_%p.profraw

# rustup's component where it is there; else Debian's, the first that reads them.
tool=$(rustc --print target-libdir)/../bin/llvm-profdata
if [ ! -x "$tool" ]; then
  tool=llvm-profdata-19
  need "$tool" llvm-19
fi
need python3 python3

# With a target of its own, what only runs while building is neither counted nor guided.
build() {
  RUSTFLAGS=$2 cargo build --release --locked --quiet -p llm-proxy --target "$host" --target-dir "$target/guided/$1"
}

train() {
  rm -rf "$counts" "$target/guided/"*.profdata
  local folder=$target/guided/trained postgres
  mkdir -p "$folder"
  cargo build --release --locked --quiet -p load || return
  cp "$target/release/load" "$counted" "$folder/" || return
  postgres=$(scripts/servers.sh postgres) || return
  python3 tests/bench/training.py --bin "$folder" --postgres "$postgres" || return
  # One that was cut short is not taken for a profile next time.
  "$tool" merge -o "$profile.part" "$counts" && mv "$profile.part" "$profile"
}

timed "building what counts its branches" build counted -Cprofile-generate || fail "the build failed"
counted=$target/guided/counted/$host/release/llm-proxy
# By its name Cargo knows whether it has built with it before.
profile=$target/guided/$(sha256sum "$counted" | cut -c 1-16).profdata
[ -e "$profile" ] || timed "counting" train || fail "the counting failed"
timed "building with what was counted" build kept "-Cprofile-use=$profile" || fail "the build failed"
echo "$target/guided/kept/$host/release/llm-proxy"
