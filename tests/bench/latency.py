"""How long a call takes, and what each gateway adds to it over direct calls: one
caller at a time, and callers that begin their calls at a fixed rate."""

from calls import PLAIN_PROMPT, start_ours
from measure import rotated
from report import Row

OPEN_RATE = 1_000


def added(rank, name, who, *target):
    return Row("R4", f"added {name} (µs), {who} ÷ nginx", (f"added {rank}", who), (f"added {rank}", "nginx"), *target)


ROWS = [
    *[added("p50", "p50, c=1", who, "<=", 1.3) for who in ("plain", "governed")],
    *[added("p99", "p99, c=1", who, "<=", 1.5) for who in ("plain", "governed")],
    added("p99, open", f"p99 at {OPEN_RATE:,} calls/s", "governed"),
]


def run(stage, figures, rounds, seconds):
    direct, nginx = stage.start_provider(), stage.start_nginx()
    plain, governed = start_ours(stage, "latency")

    def alone(contender):
        return stage.measure("closed", contender, "--connections", 1, "--seconds", seconds, "--prompt", PLAIN_PROMPT)

    def at_rate(contender):
        return stage.measure("open", contender, "--connections", 64, "--rate", OPEN_RATE, "--seconds", seconds)

    for number in figures.rounds(rounds, "one caller"):
        compare(figures, direct, rotated([nginx, plain, governed], number), alone)
    for number in figures.rounds(rounds, "a fixed rate"):
        compare(figures, direct, rotated([nginx, governed], number), at_rate, ", open")
    return {}


def compare(figures, direct, contenders, measure, kind=""):
    """Latencies of each, and what it adds to those of direct calls."""
    least = measure(direct)
    for rank in ("p50", "p99"):
        figures.add(rank + kind, "direct", least[f"{rank}_us"])
    for contender in contenders:
        told = measure(contender)
        for rank in ("p50", "p99"):
            figures.add(rank + kind, contender.name, told[f"{rank}_us"])
            figures.add(f"added {rank}{kind}", contender.name, told[f"{rank}_us"] - least[f"{rank}_us"])
