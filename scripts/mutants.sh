#!/usr/bin/env bash
# Usage: scripts/mutants.sh [NAME…]
#
# A promise whose mutant survives is not tested. Each tests/mutants/NAME.patch
# plants one fault; the line `# test: COMMAND` at its head names the test that
# guards the promise. In a throwaway copy of the working tree the test must pass,
# then with the fault compile and fail. All mutants, or those that are named.
set -uo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib/say.sh
. "$repo/scripts/lib/say.sh"

# The copies and their builds stand apart, so that nothing of the working tree's
# is overwritten, and stay, so that the next run compiles only what it must.
work=${CARGO_TARGET_DIR:-$repo/target}/mutants
logs=$work/logs
# Nobody debugs a fault; without debug information each compiles sooner.
export CARGO_PROFILE_DEV_DEBUG=false
features=llm-proxy/failpoints,vault-plugin-secrets-litellm/failpoints

names=("$@")
if [ "${#names[@]}" = 0 ]; then
  for patch in "$repo"/tests/mutants/*.patch; do names+=("$(basename "$patch" .patch)"); done
fi

# enter LANE: goes into a fresh copy of the working tree with a build of its own,
# whose libraries come from the first lane's.
enter() {
  tree=$work/tree.$1
  export CARGO_TARGET_DIR=$work/target.$1
  [ -d "$CARGO_TARGET_DIR" ] || [ "$1" = 0 ] || cp -a "$work/target.0" "$CARGO_TARGET_DIR"
  rm -rf "$tree"
  mkdir -p "$tree"
  (cd "$repo" && git ls-files -z --cached --others --exclude-standard \
    | while IFS= read -r -d '' file; do [ -e "$file" ] && printf '%s\0' "$file"; done \
    | tar --null -T - -cf -) | tar -xf - -C "$tree"
  # A repository of its own, or `git apply` would take paths from the outer one.
  git init -q "$tree"
  # A run that was cut short may have built a fault: its files count as changed.
  sed -n 's|^+++ b/||p' "$repo"/tests/mutants/*.patch | sort -u \
    | while read -r file; do [ -e "$tree/$file" ] && touch "$tree/$file"; done
  cd "$tree" || exit 1
}

test_of() {
  sed -n 's/^# test: //p' "$repo/tests/mutants/$1.patch" | head -n 1
}

# Compiles what the command runs: the end-to-end tests also drive two binaries.
build() {
  if [[ $1 == *" -p e2e "* ]]; then
    cargo build --locked --quiet -p llm-proxy -p vault-plugin-secrets-litellm \
      --features "$features" || return
  fi
  # shellcheck disable=SC2086
  ${1%% -- *} --no-run --quiet
}

apply() {
  git -C "$tree" apply --whitespace=nowarn "$@"
}

# Each of these says in one line what is wrong with a mutant.

# True where the patch applies and its test passes without the fault.
is_sound() {
  local name=$1 command log=$logs/$1.sound
  command=$(test_of "$name")
  [ -n "$command" ] || { say "$name: the patch names no test"; return 1; }
  apply --check "$repo/tests/mutants/$name.patch" 2>"$log" || { say "$name: the patch does not apply (see $log)"; return 1; }
  build "$command" >"$log" 2>&1 || { say "$name: does not compile without the fault (see $log)"; return 1; }
  $command >"$log" 2>&1 || { say "$name: its test fails without the fault (see $log)"; return 1; }
  grep -qE '^test result: ok\. [1-9]' "$log" || { say "$name: no test has run (see $log)"; return 1; }
}

# True where the test fails with the fault in place.
is_caught() {
  local name=$1 command log=$logs/$1.fault
  command=$(test_of "$name")
  build "$command" >"$log" 2>&1 || { say "$name: the fault does not compile (see $log)"; return 1; }
  $command >"$log" 2>&1 && { say "$name: SURVIVED: $command"; return 1; }
  grep -q '^test result: FAILED' "$log" || { say "$name: the test did not end (see $log)"; return 1; }
}

# plant LANE LANES: each LANESth of the sound ones, one after another.
plant() {
  local index name started
  for ((index = $1; index < ${#sound[@]}; index += $2)); do
    name=${sound[index]}
    started=$SECONDS
    apply "$repo/tests/mutants/$name.patch" || fail "$name does not apply"
    is_caught "$name" && say "$name: caught in $((SECONDS - started)) s" && : >"$logs/$name.caught"
    apply -R "$repo/tests/mutants/$name.patch" || fail "$name can't be taken back"
  done
}

mkdir -p "$work"
exec 9>"$work/lock"
flock 9
rm -rf "$logs"
mkdir -p "$logs"
cd "$repo" || exit 1

# All the sound ones first, with nothing beside them: a test that fails because
# the machine is busy would prove nothing of its fault.
enter 0
sound=()
for name in "${names[@]}"; do
  [ -f "$repo/tests/mutants/$name.patch" ] || fail "tests/mutants/$name.patch does not exist"
  is_sound "$name" && sound+=("$name")
done
say "${#sound[@]} of ${#names[@]} mutants have a test that passes without them"

# To compile one crate again keeps one core busy. The first lane comes last: the
# others have taken its libraries by then.
lanes=$(nproc)
[ "$lanes" -le 4 ] || lanes=4
for ((lane = lanes - 1; lane >= 0; lane--)); do
  cd "$repo" || exit 1
  enter "$lane"
  plant "$lane" "$lanes" &
done
wait
caught=$(find "$logs" -name '*.caught' | wc -l)
[ "$caught" = "${#names[@]}" ] || fail "$caught of ${#names[@]} mutants were caught"
say "all ${#names[@]} mutants were caught"
