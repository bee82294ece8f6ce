#!/usr/bin/env bash
# Usage: scripts/dev.sh [--once] [--server vault|bao|auto]
#
# Builds everything, starts a real server and the gateway, mounts the engine at
# litellm/, and does the main job before your eyes: a leased key, a plain and a
# streamed call with it, what they cost, the lease revoked, the key refused.
# Then everything keeps running until Ctrl-C. With --once it stops and exits 0
# when every answer was the expected one.
# With OPENAI_API_KEY set it also calls the real provider (model OPENAI_MODEL).
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib/say.sh
. "$repo/scripts/lib/say.sh"
# shellcheck source=scripts/lib/ports.sh
. "$repo/scripts/lib/ports.sh"

PLUGIN=vault-plugin-secrets-litellm
PROVIDER_MODEL=${OPENAI_MODEL:-gpt-5-mini}

once=false
server=auto
while [ $# -gt 0 ]; do
  case $1 in
    --once) once=true ;;
    --server)
      server=${2:-}
      shift
      ;;
    --server=*) server=${1#--server=} ;;
    *)
      sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
      exit 2
      ;;
  esac
  shift
done
case $server in
  vault | bao) ;;
  auto)
    server=bao
    if command -v vault >/dev/null || ls "$CACHE"/servers/vault-*/vault >/dev/null 2>&1; then
      server=vault
    fi
    ;;
  *) fail "--server is vault, bao or auto" ;;
esac

work=$(mktemp -d)
started=()

# Ends what this run started, gently first, and waits for it.
clean_up() {
  local pid deadline=$((SECONDS + 8))
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do
    while kill -0 "$pid" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

step() { printf '\n== %s\n' "$*"; }

# Prints a command the way a user would type it, and its real answer, which is
# also kept in $work/answer.
show() {
  local word
  printf '$'
  for word in "$@"; do
    if [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]]; then printf ' %s' "$word"; else printf " '%s'" "$word"; fi
  done
  printf '\n'
  "$@" >"$work/answer" 2>&1 || {
    cat "$work/answer"
    fail "this was expected to work"
  }
  cat "$work/answer"
}

expect() {
  grep -qE -- "$1" "$work/answer" || fail "the answer was expected to hold: $1"
}

# json FIELD…: one value out of the JSON in $work/answer.
json() {
  python3 -c 'import functools, json, sys
print(functools.reduce(lambda value, field: value[field], sys.argv[2:], json.load(open(sys.argv[1]))))' \
    "$work/answer" "$@"
}

log_of() {
  tail -n 20 "$work/$1.log" >&2
  fail "$1 did not start; the end of its log is above"
}

build() {
  need curl curl
  need python3 python3
  (cd "$repo" && timed "building (release)" cargo build --release --locked --quiet -p llm-proxy -p "$PLUGIN") \
    || fail "the build failed"
  # Without a pipe in between a failure of the script ends this one too.
  "$repo/scripts/servers.sh" "$server" >"$work/server-path"
  cli=$(cat "$work/server-path")
  target=${CARGO_TARGET_DIR:-$repo/target}/release
  mkdir "$work/plugins"
  # The server's plugin folder holds the plugin and nothing else, and no symlink.
  cp "$target/$PLUGIN" "$work/plugins/"
  sha256=$(sha256sum "$work/plugins/$PLUGIN" | cut -d ' ' -f 1)
}

provider_config() {
  cat >"$work/config.yaml" <<YAML
model_list:
  - model_name: demo
    litellm_params: {model: echo/demo}
    model_info: {input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}
  - model_name: $PROVIDER_MODEL
    litellm_params: {model: openai/$PROVIDER_MODEL, api_key: os.environ/OPENAI_API_KEY}
    model_info: {input_cost_per_token: 0.00000125, output_cost_per_token: 0.00001}
YAML
}

start_gateway() {
  local arguments=(serve --dev)
  free_port 4000; data=http://127.0.0.1:$FREE_PORT
  free_port 4001; admin=http://127.0.0.1:$FREE_PORT
  LLM_PROXY_MASTER_KEY=sk-dev-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  export LLM_PROXY_MASTER_KEY
  if [ -n "${OPENAI_API_KEY:-}" ]; then
    provider_config
    arguments=(serve --config "$work/config.yaml")
  fi
  env -u LLM_PROXY_CONFIG DATABASE_URL="sqlite://$work/llm-proxy.db" \
    LLM_PROXY_LISTEN="${data#http://}" LLM_PROXY_ADMIN_LISTEN="${admin#http://}" \
    "$target/llm-proxy" "${arguments[@]}" >"$work/gateway.log" 2>&1 8>&- &
  started+=($!)
  wait_for "the gateway" $! "$data/health/readiness" || log_of gateway
}

start_server() {
  free_port 8200
  address=http://127.0.0.1:$FREE_PORT
  token=dev-$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
  if [ "$server" = bao ]; then prefix=BAO; else prefix=VAULT; fi
  export "${prefix}_ADDR=$address" "${prefix}_TOKEN=$token"
  unset "${prefix}_NAMESPACE" "${prefix}_CACERT"
  HOME=$work "$cli" server -dev -dev-no-store-token -dev-root-token-id="$token" \
    -dev-listen-address="${address#http://}" -dev-plugin-dir="$work/plugins" \
    -config="$repo/vault-dev.hcl" >"$work/server.log" 2>&1 8>&- &
  started+=($!)
  wait_for "the server" $! "$address/v1/sys/health" || log_of server
}

mount_engine() {
  show "$name" plugin register -sha256="$sha256" secret "$PLUGIN"
  show "$name" secrets enable -path=litellm "$PLUGIN"
  # The master key goes in by standard input, so that no process list shows it.
  printf '$ %s write litellm/config base_url=%s public_url=%s master_key=-\n' "$name" "$admin" "$data"
  printf %s "$LLM_PROXY_MASTER_KEY" \
    | "$cli" write litellm/config base_url="$admin" public_url="$data" master_key=- \
    || fail "the engine refused its configuration"
  show "$name" write litellm/roles/demo models="$models" max_budget=1 ttl=10m max_ttl=1h
}

issue_key() {
  show "$name" read -format=json litellm/creds/demo
  lease=$(json lease_id)
  key=$(json data key)
}

# call MODEL STREAM CURL-OPTIONS…: a chat completion as an application makes it.
call() {
  local model=$1 stream=$2
  shift 2
  show curl -s "$@" "$data/v1/chat/completions" -H "Authorization: Bearer $key" \
    -H 'Content-Type: application/json' \
    -d "{\"model\":\"$model\",\"stream\":$stream,\"messages\":[{\"role\":\"user\",\"content\":\"Say hello to the world.\"}]}"
  echo
}

use_key() {
  step "A plain call with the key"
  call demo false -i
  expect '^HTTP/1.1 200'
  expect 'x-litellm-response-cost: 0\.0*[1-9]'
  expect '"chat.completion"'
  step "A streamed call with the key"
  call demo true -N
  expect '"chat.completion.chunk"'
  expect '^data: \[DONE\]'
  if [ -n "${OPENAI_API_KEY:-}" ]; then
    step "A call to the real provider"
    call "$PROVIDER_MODEL" false -i
    expect '^HTTP/1.1 200'
  fi
}

what_it_cost() {
  step "What both cost: the key about itself"
  show curl -s "$data/key/info" -H "Authorization: Bearer $key"
  echo
  python3 -c 'import sys; sys.exit(not 0 < float(sys.argv[1]) < 1)' "$(json info spend)" \
    || fail "the spend was expected to be above 0 and below the budget"
}

end_key() {
  step "The lease is revoked"
  show "$name" lease revoke -sync "$lease"
  expect '[Rr]evoked'
  step "The next call with the key is refused"
  call demo false -i
  expect '^HTTP/1.1 401'
}

keep_running() {
  cat <<TEXT

== Running. Ctrl-C stops and removes everything.
export ${prefix}_ADDR=$address
export ${prefix}_TOKEN=$token
export OPENAI_BASE_URL=$data/v1
export OPENAI_API_KEY=\$($name read -field=key litellm/creds/demo)
   admin API and master key: $admin  $LLM_PROXY_MASTER_KEY
   logs: $work/gateway.log  $work/server.log
TEXT
  wait -n "${started[@]}" || true
  fail "the gateway or the server has ended; see the logs above"
}

build
name=$(basename "$cli")
# The commands shown are the commands run.
eval "$name() { \"\$cli\" \"\$@\"; }"
models=demo${OPENAI_API_KEY:+,$PROVIDER_MODEL}
# Another run that starts at this moment would find the same ports free.
need flock util-linux
mkdir -p "$CACHE"
exec 8>"$CACHE/.ports.lock"
flock 8
step "The gateway"
start_gateway
show curl -s "$data/health/readiness"
echo
step "The server: $("$cli" version)"
start_server
exec 8>&-
step "The engine"
mount_engine
step "A key, leased"
issue_key
use_key
what_it_cost
end_key
say "every answer was as expected"
if ! $once; then keep_running; fi
