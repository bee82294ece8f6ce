#!/usr/bin/env bash
# Usage: scripts/scale.sh
#
# Prints the tables of docs/scale.md: how long batches of the ledger take on both
# stores here, and what the simulated gateways cost a store. It takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
export LLM_PROXY_SCALE=1
cargo test --locked --quiet -p llm-proxy -- --test-threads 1 how_long_batches_take the_tables_of_the_large
