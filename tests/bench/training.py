"""Calls of all kinds, for a gateway that counts how often each of its branches is
taken: what it then is built with. Run by scripts/release.sh."""

import argparse
import sys
from pathlib import Path

from calls import LARGE_PROMPT, PLAIN_PROMPT
from measure import stop_when_told
from stage import LIMITS, CallsFailed, Stage

IN_TURN, IN_USE = 5_000, 64
# Connections and calls of a run: one caller, some, and as many as one core serves.
RUNS = ((1, 3_000), (16, 20_000), (64, 30_000))


def train(stage):
    stage.start_provider()
    local = stage.gateway("sqlite", f"sqlite://{stage.folder}/training.db")
    keys = local.import_keys(plain=(1, {}), governed=(IN_TURN, LIMITS), refused=(1, {"tpm_limit": 1}))
    local.start()
    plain, governed, refused = (local.contender(name, keys[name]) for name in keys)
    in_use = local.contender("in use", keys["governed"][:IN_USE])
    for contender in (plain, governed, in_use):
        for connections, calls in RUNS:
            call(stage, contender, connections, calls)
        stage.answered("streams", contender, "--count", IN_USE, "--seconds", 3)
    call(stage, governed, 16, 1_000, LARGE_PROMPT)
    stage.load("closed", refused, "--connections", 16, "--calls", 2_000)

    url, _ = stage.start_postgres()
    shared = stage.gateway("postgres", url)
    keys = shared.import_keys(governed=(IN_USE, LIMITS))
    shared.start()
    call(stage, shared.contender("governed", keys["governed"]), IN_USE, 20_000)


def call(stage, contender, connections, calls, prompt=PLAIN_PROMPT):
    stage.answered("closed", contender, "--connections", connections, "--calls", calls, "--prompt", prompt)


def main():
    stop_when_told()
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--postgres", type=Path, required=True, help="the folder of initdb and postgres")
    arguments = parser.parse_args()
    stage = Stage(arguments.bin, arguments.postgres)
    try:
        train(stage)
    except CallsFailed as failed:
        sys.exit(f"error: {failed}")
    finally:
        # What it has counted is written as it ends.
        stage.stop()


if __name__ == "__main__":
    main()
