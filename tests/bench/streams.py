"""Streamed calls: when their first event comes, and what an event costs. The
provider sends one every 10 ms; each key has all limits, and usage is metered."""

from calls import start_ours
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
        contenders = [nginx, governed] if number % 2 == 0 else [governed, nginx]
        for count in COUNTS:
            options = ("--count", count, "--seconds", seconds)
            alone = stage.measure("streams", direct, *options)
            for rank in ("p50", "p99"):
                figures.add(f"{rank} {count}", "direct", alone[f"{rank}_us"])
            for contender in contenders:
                told = stage.measure("streams", contender, *options)
                figures.add(f"cpu {count}", contender.name, told["cpu"] / told["events"] * 1e6)
                for rank in ("p50", "p99"):
                    figures.add(f"{rank} {count}", contender.name, told[f"{rank}_us"])
                    figures.add(f"added {rank} {count}", contender.name, told[f"{rank}_us"] - alone[f"{rank}_us"])
    return {}
