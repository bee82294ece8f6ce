#!/usr/bin/env bash
# Usage: setup.sh FOLDER POSTGRES_BIN
#
# Puts a stock LiteLLM proxy into FOLDER, from package registries alone:
#   venv          LiteLLM itself, with prisma-client-py generated
#   bridge        stands in for Prisma's query engine, which no registry carries
#   shim          first on PATH when LiteLLM runs
#   database.tar  a PostgreSQL cluster with LiteLLM's tables, not running
# Needs node, npm, Python 3.11 or newer and PostgreSQL. scripts/servers.sh calls
# this once a version; POSTGRES_BIN is what `scripts/servers.sh postgres` prints.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$1 postgres=$2
export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 CHECKPOINT_DISABLE=1

rm -rf "$root"
mkdir -p "$root"/{bridge,cli,home,shim}
python3 -m venv "$root/venv"
"$root/venv/bin/pip" install --quiet --no-deps -r "$here/requirements.txt"
for name in bridge cli; do
  cp "$here/$name"/package*.json "$root/$name/"
  (cd "$root/$name" && npm ci --silent --no-audit --no-fund --ignore-scripts)
done
install -m 755 "$here/query-engine.js" "$root/bridge/query-engine"
# LiteLLM runs `prisma migrate` at start; the tables below are complete.
printf '#!/bin/sh\nexit 0\n' >"$root/shim/prisma"
chmod 755 "$root/shim/prisma"

# With its engines named, `prisma generate` downloads nothing.
packages=$(echo "$root"/venv/lib/python3.*/site-packages)
engine=$root/bridge/query-engine
env HOME="$root/home" PATH="$root/venv/bin:$PATH" DATABASE_URL=postgresql://unused \
  PRISMA_QUERY_ENGINE_BINARY="$engine" PRISMA_SCHEMA_ENGINE_BINARY="$engine" PRISMA_QUERY_ENGINE_LIBRARY="$engine" \
  node "$root/cli/node_modules/prisma/build/index.js" generate \
  --schema "$packages/litellm/proxy/schema.prisma" >"$root/generate.log" 2>&1 \
  || { cat "$root/generate.log"; exit 1; }

# PostgreSQL runs as anyone but root, in a folder that its user can reach.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
  else
    "$@"
  fi
}
cluster=$(mktemp -d)
finish() {
  [ ! -e "$cluster/data/postmaster.pid" ] || as_postgres "$postgres/pg_ctl" -D "$cluster/data" -m immediate stop >/dev/null || true
  rm -rf "$cluster"
}
trap finish EXIT
chmod 755 "$cluster"
if [ "$(id -u)" = 0 ]; then chown postgres "$cluster"; fi
cd "$cluster"
as_postgres "$postgres/initdb" -D "$cluster/data" -U litellm --auth=trust -E UTF8 --locale=C.UTF-8 >/dev/null
# It listens on a socket in its own folder alone.
as_postgres "$postgres/pg_ctl" -D "$cluster/data" -l "$cluster/log" -w start \
  -o "-c listen_addresses= -c unix_socket_directories=$cluster -c fsync=off" >/dev/null
query() { as_postgres "$postgres/psql" -q -v ON_ERROR_STOP=1 -h "$cluster" -U litellm "$@"; }
query postgres -c 'create database litellm'
find "$packages/litellm_proxy_extras/migrations" -name migration.sql | sort \
  | while IFS= read -r file; do cat "$file"; echo ';'; done >"$root/migrations.sql"
query litellm <"$root/migrations.sql" >"$root/migrate.log" 2>&1 || { tail -20 "$root/migrate.log"; exit 1; }
tables=$(query litellm -Atc "select count(*) from information_schema.tables where table_schema = 'public'")
[ "$tables" -gt 90 ] || { echo "LiteLLM's migrations made $tables tables only"; exit 1; }
as_postgres "$postgres/pg_ctl" -D "$cluster/data" -m fast stop >/dev/null
tar -C "$cluster" -cf "$root/database.tar" data
touch "$root/complete"
