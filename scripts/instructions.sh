#!/usr/bin/env bash
# Usage: scripts/instructions.sh [--write] [--profile FOLDER]
#
# Counts the instructions of a call with callgrind, prints the change against
# tests/instructions.json, and fails where one rose by over 3 %.
#   --write           takes the figures found as the new ones
#   --profile FOLDER  keeps callgrind's files, for callgrind_annotate
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib/say.sh
. "$repo/scripts/lib/say.sh"
# shellcheck source=scripts/lib/named.sh
. "$repo/scripts/lib/named.sh"
cd "$repo"

need valgrind valgrind
need python3 python3
target=${CARGO_TARGET_DIR:-$repo/target}/instructions

timed "building what is counted" build_named "$target"
timed "counting" python3 tests/bench/instructions.py --json tests/instructions.json --bin "$target/release/llm-proxy" "$@"
