"""What the ledger costs, of the same code as a release: processor time a call,
hold and settle in four accounts, 64 at a time, 10,000 keys; memory a cached
key. Run by scripts/bench.sh."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Figures
from report import Row, report

ROWS = [
    Row("ledger", "CPU a call in the accounts (µs)", ("in memory", "ours"), None, "<=", 3),
    Row("ledger", "  and with its tasks, messages and waiting (µs)", ("callers", "ours")),
    Row("ledger", "  and with the writer and SQLite (µs)", ("with store", "ours")),
    Row("R7", "memory of a cached key beyond its strings (bytes)", ("key", "ours"), None, "<=", 200),
    Row("R7", "  as Vault issues them, with limits, alias and metadata", ("issued key", "ours")),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    figures = Figures()
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        environment = dict(os.environ, LEDGER_BENCH_CALLS=str(arguments.calls), LEDGER_BENCH_OUT=out.name)
        test = ["cargo", "test", "--release", "--locked", "--quiet", "-p", "llm-proxy", "ledger::tests::cost"]
        done = subprocess.run(test, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(done.stdout)
        found = json.loads(Path(out.name).read_text())
    for case, name in (("in memory", "in_memory_ns"), ("callers", "callers_ns"), ("with store", "with_store_ns")):
        figures.add(case, "ours", found[name] / 1000)
    figures.add("key", "ours", found["cached_key_bytes"])
    figures.add("issued key", "ours", found["issued_key_bytes"])
    report("ledger", figures, ROWS, arguments.json)


if __name__ == "__main__":
    main()
