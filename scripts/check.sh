#!/usr/bin/env bash
# Usage: scripts/check.sh [--instructions]
#
# All that needs no server: format, lints, docs, licences and duplicate crates,
# unused crates, packages, the size budget, nothing left undone. Goes on after a
# failure and names each at its end. --instructions also counts those of a call,
# which takes a release build and a minute (scripts/instructions.sh).
set -uo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib/say.sh
. "$repo/scripts/lib/say.sh"
cd "$repo" || exit 1

MAX_LINES=500
LONG_LINES=400
tools=$CACHE/tools
failures=()

check() {
  local what=$1
  shift
  timed "$what" "$@" || failures+=("$what")
}

docs() {
  RUSTDOCFLAGS='-D warnings' cargo doc --quiet --locked --workspace --no-deps --document-private-items
}

dependencies() {
  tool cargo-deny && "$tools/bin/cargo-deny" --log-level error check bans licenses sources
}

# The advisory database is on a host that is not always within reach.
advisories() {
  tool cargo-deny || return
  if timeout 60 "$tools/bin/cargo-deny" --log-level error fetch db >/dev/null 2>&1; then
    "$tools/bin/cargo-deny" --log-level error check --disable-fetch advisories
  else
    say "the advisory database can't be reached: advisories are not checked"
  fi
}

unused() {
  tool cargo-machete && "$tools/bin/cargo-machete" . >&2
}

# What crates.io would get of the two crates that others use. Work that is not
# committed yet would be refused, and is no fault.
packages() {
  local said dirty=()
  [ -z "$(git status --porcelain)" ] || dirty=(--allow-dirty)
  said=$(cargo package --offline --no-verify "${dirty[@]}" -p vault-plugin-proto -p vault-plugin-sdk 2>&1) \
    && ! grep -q '^warning' <<<"$said" && return
  printf '%s\n' "$said" >&2
  return 1
}

size_budget() {
  git ls-files -z --cached --others --exclude-standard -- '*.rs' '*.sh' '*.py' | xargs -0 wc -l \
    | awk -v max="$MAX_LINES" -v long="$LONG_LINES" '
      $2 == "total" { next }
      $1 > max { print "over " max " lines: " $2 " (" $1 ")"; bad = 1; next }
      $1 > long { print "over " long " lines, does several things: " $2 " (" $1 ")" }
      END { exit bad }' >&2
}

nothing_undone() {
  ! git grep -nE 'TODO|FIXME|\bXXX\b|todo!\(|unimplemented!\(|#\[ignore|#!?\[allow\(' \
    -- '*.rs' '*.sh' '*.py' '*.proto' ':!scripts/check.sh' >&2
}

# Nothing compiles Python before it runs, and the benchmarks run seldom.
python() {
  need python3 python3
  git ls-files -z --cached --others --exclude-standard -- '*.py' \
    | xargs -0 python3 -c 'import sys; [compile(open(path).read(), path, "exec") for path in sys.argv[1:]]'
}

# Each promise of the README is named by its id, and a test begins with that id.
promises() {
  local id missing=0
  for id in $(grep -oE '\b[A-I][0-9]+\b' README.md | sort -u); do
    git grep -qE "fn ${id,,}_" -- '*.rs' && continue
    say "the README promises $id, and no test is named ${id,,}_…"
    missing=1
  done
  return $missing
}

# The code moves; a fault that can't be planted any more guards nothing, nor does
# one whose test nobody knows.
faults() {
  local patch lost=0
  for patch in tests/mutants/*.patch; do
    grep -q '^# test: cargo test ' "$patch" || { say "$patch names no test" && lost=1; }
    git apply --check "$patch" || { say "$patch does not apply" && lost=1; }
  done
  return $lost
}

# A failpoint that the list lacks ends the process that passes it.
failpoints() {
  local name missing=0
  for name in $(git grep -ohE 'failpoint::pass\("[a-z_.]+"\)' -- proxy/src | grep -oE '[a-z_]+\.[a-z_]+' | sort -u); do
    grep -qF "\"$name\"" proxy/src/failpoint.rs && continue
    say "the failpoint $name is not in the list of proxy/src/failpoint.rs"
    missing=1
  done
  return $missing
}

check "format" cargo fmt --all --check
check "lints" cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
check "lints with failpoints" cargo clippy --quiet --locked -p llm-proxy -p vault-plugin-secrets-litellm \
  --features llm-proxy/failpoints,vault-plugin-secrets-litellm/failpoints -- -D warnings
check "docs" docs
check "licences, bans, sources" dependencies
check "advisories" advisories
check "unused crates" unused
check "packages" packages
check "Python compiles" python
check "size budget" size_budget
check "nothing undone" nothing_undone
check "a test for each promise" promises
check "planted faults apply" faults
check "failpoints are listed" failpoints
if [ "${1:-}" = --instructions ]; then check "instructions of a call" scripts/instructions.sh; fi

if [ "${#failures[@]}" -gt 0 ]; then
  for what in "${failures[@]}"; do say "failed: $what"; done
  exit 1
fi
say "all checks passed"
