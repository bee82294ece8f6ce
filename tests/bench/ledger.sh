#!/usr/bin/env bash
# Usage: tests/bench/ledger.sh OUT.json
#
# What the ledger costs, of the same code as a release: processor time a call,
# hold and settle in four accounts, 64 at a time, 10,000 keys; memory a cached
# key. CALLS (100000) says how many calls are measured.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "$1")
LEDGER_BENCH_CALLS=${CALLS:-100000} LEDGER_BENCH_OUT=$out \
  cargo test --release --locked --quiet -p llm-proxy ledger::tests::cost >/dev/null
python3 - "$out" <<'PY'
import json, sys
found = json.load(open(sys.argv[1]))
row = "{:<52} {:>10} {:>8}".format
print(row("", "found", "target"))
print(row("processor time a call in the accounts, µs", found["in_memory_ns"] / 1000, "3"))
print(row("  and with its tasks, messages and waiting, µs", found["callers_ns"] / 1000, ""))
print(row("  and with the writer and SQLite, µs", found["with_store_ns"] / 1000, ""))
print(row("memory of a cached key beyond its strings, bytes", found["cached_key_bytes"], "200"))
PY
