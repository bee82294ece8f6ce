# What the scripts share: progress with elapsed times on stderr, and Debian
# packages that are installed only when a command is missing. Sourced, never run.

SAY_STARTED=$SECONDS

say() {
  printf '[%3ds] %s\n' "$((SECONDS - SAY_STARTED))" "$*" >&2
}

fail() {
  say "error: $*"
  exit 1
}

# timed WHAT COMMAND…: runs it and says how long it took.
timed() {
  local what=$1 started=$SECONDS
  shift
  say "$what …"
  "$@" || return
  say "$what: $((SECONDS - started)) s"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# need COMMAND PACKAGE: installs the Debian package when the command is missing.
need() {
  command -v "$1" >/dev/null 2>&1 && return
  install_packages "$2"
  command -v "$1" >/dev/null 2>&1 || fail "$1 is missing and the Debian package $2 did not bring it"
}

install_packages() {
  command -v apt-get >/dev/null 2>&1 || fail "needs the package(s) $*: install them, then run this again"
  say "installing $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null 2>&1 && return
  as_root apt-get update -qq >/dev/null 2>&1
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null \
    || fail "can't install $*: needs root or sudo without a password"
}

# Everything that is built or downloaded once is kept here, outside the repository.
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/llm-proxy

# tool NAME: a Cargo tool, built once and kept outside the repository.
tool() {
  local tools=$CACHE/tools
  [ -x "$tools/bin/$1" ] && return
  need flock util-linux
  mkdir -p "$tools"
  timed "installing $1, once" flock "$tools/.lock" \
    env -u CARGO_TARGET_DIR cargo install --quiet --locked --root "$tools" "$1"
}
