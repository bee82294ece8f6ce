"""Measures parts of the gateway on a stage of their own. Run by scripts/bench.sh."""

import argparse
import sys
from pathlib import Path

import budget
import calls
import division
import latency
import memory
import rivals
import scale
import streams
from measure import Figures, say, stop_when_told
from report import report
from stage import CallsFailed, Stage

PARTS = {"calls": calls, "latency": latency, "streams": streams, "memory": memory, "budget": budget, "rivals": rivals,
         "scale": scale, "profile": division}


def main():
    stop_when_told()
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--postgres", type=Path, required=True, help="the folder of initdb and postgres")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="how long one case of a round is measured")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rival", action="append", default=[], help="NAME=FOLDER of one that is installed")
    arguments = parser.parse_args()
    part, figures = PARTS[arguments.part], Figures()
    stage = Stage(arguments.bin, arguments.postgres)
    more = {}
    if part is rivals:
        more["installed"] = {name: Path(folder) for name, folder in (rival.split("=", 1) for rival in arguments.rival)}
    try:
        missing = part.run(stage, figures, arguments.rounds, arguments.seconds, **more)
    except CallsFailed as failed:
        say(f"what the servers said is in {stage.keep_logs(arguments.json.parent / 'logs')}")
        sys.exit(f"error: {failed}")
    finally:
        stage.stop()
    report(arguments.part, figures, part.ROWS, arguments.json, missing)


if __name__ == "__main__":
    main()
