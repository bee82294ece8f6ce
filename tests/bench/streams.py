"""Streamed calls: when their first event comes, and what an event costs. The
provider sends one every 10 ms; each key has all limits, and usage is metered."""

from calls import start_ours
from latency import compare
from measure import rotated
from report import Row

COUNTS = (64, 256)
ROWS = [
    *[Row("R5", f"added time to first event, {count} streams, {rank} (µs), governed ÷ nginx",
          (f"added {rank} {count}", "governed"), (f"added {rank} {count}", "nginx"),
          *(("<=", 1.2) if rank == "p50" else ()))
      for count in COUNTS for rank in ("p50", "p99")],
    *[Row("R6", f"CPU an event, {count} streams (µs), governed ÷ nginx",
          (f"cpu {count}", "governed"), (f"cpu {count}", "nginx"), "<=", 1.2) for count in COUNTS],
]


def run(stage, figures, rounds, seconds):
    direct, nginx = stage.start_provider(), stage.start_nginx()
    _, governed = start_ours(stage, "streams")
    for number in figures.rounds(rounds):
        for count in COUNTS:

            def measure(contender, count=count):
                told = stage.measure("streams", contender, "--count", count, "--seconds", seconds)
                if contender.pid:
                    figures.add(f"cpu {count}", contender.name, told["cpu"] / told["events"] * 1e6)
                return told

            compare(figures, direct, rotated([nginx, governed], number), measure, f" {count}")
    return {}
