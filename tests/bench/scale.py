"""Gateways on one PostgreSQL: how calls/s grow with them, what a call costs at three
beside one, and what the store is asked for as calls grow.

On two cores gateways share one, so that three are no faster than one there. To show
how they grow, each is held to a part of that core, as if it had a machine of its own."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

from capped import NoCap, capped
from measure import say, tree_cpu_seconds
from report import Row
from stage import CallsFailed, LIMITS, settled_cpu_seconds

REPLICAS, KEYS, CONNECTIONS = 3, 10, 48
SLOW, FAST = 200, 2_000
# What a gateway has of its core: so little that three leave PostgreSQL and the ends of
# the calls, which have the other core, something to spare.
PART, CAPPED = 0.2, "rate, capped"
ROWS = [
    *[Row("scale", f"calls/s, each held to {PART:.0%} of a core, {count} ÷ 1", (CAPPED, str(count)), (CAPPED, "1"))
      for count in range(2, REPLICAS + 1)],
    Row("scale", f"statements/s, each held to {PART:.0%} of a core, {REPLICAS} ÷ 1",
        ("statements/s, capped", str(REPLICAS)), ("statements/s, capped", "1")),
    Row("scale", "CPU a call at the gateways (µs), 3 ÷ 1", ("gateway cpu", "3"), ("gateway cpu", "1")),
    Row("scale", "CPU a call at PostgreSQL (µs), 3 ÷ 1", ("store cpu", "3"), ("store cpu", "1")),
    Row("scale", "CPU a call at all of them (µs), 3 ÷ 1", ("all cpu", "3"), ("all cpu", "1")),
    Row("scale", "calls/s on the same two cores, 3 ÷ 1", ("rate", "3"), ("rate", "1")),
    Row("scale", "statements a call, as many calls as fit, 3", ("statements a call", "3")),
    Row("scale", f"statements/s at 3 gateways, {FAST:,} calls/s ÷ {SLOW} calls/s",
        ("statements/s", f"{FAST} calls/s"), ("statements/s", f"{SLOW} calls/s")),
    Row("scale", f"statements/s at 3 gateways, as many calls as fit ÷ {FAST:,} calls/s",
        ("statements/s", f"all that fit at {REPLICAS}"), ("statements/s", f"{FAST} calls/s")),
    Row("scale", f"commits/s at 3 gateways, {FAST:,} calls/s ÷ {SLOW} calls/s",
        ("commits/s", f"{FAST} calls/s"), ("commits/s", f"{SLOW} calls/s")),
    Row("scale", f"calls/s answered at 3 gateways, {FAST:,} due", ("answered/s", f"{FAST} calls/s")),
    Row("scale", f"p99 at 3 gateways (µs), {FAST:,} calls/s ÷ {SLOW} calls/s",
        ("p99", f"{FAST} calls/s"), ("p99", f"{SLOW} calls/s")),
]


class Store:
    """What PostgreSQL has counted since the last look."""

    def __init__(self, stage):
        self.psql = stage.postgres / "psql"
        self.url, self.pid = stage.start_postgres()
        made = self.ask("create extension pg_stat_statements", check=False)
        self.counts_statements = made is not None
        if not self.counts_statements:
            say("this PostgreSQL has no pg_stat_statements: commits are counted alone")

    def ask(self, statement, check=True):
        done = subprocess.run([str(self.psql), "-XAtq", self.url, "-c", statement], capture_output=True, text=True)
        if done.returncode and check:
            raise CallsFailed(f"PostgreSQL: {done.stderr.strip()}")
        return None if done.returncode else done.stdout.strip()

    def counted(self):
        commits = int(self.ask("select xact_commit from pg_stat_database where datname = 'postgres'"))
        statements = self.counts_statements and int(self.ask("select sum(calls) from pg_stat_statements"))
        return {"commits": commits, "statements": statements, "cpu": tree_cpu_seconds(self.pid)}


def run(stage, figures, rounds, seconds):
    stage.start_provider()
    store = Store(stage)
    gateways = [stage.gateway(f"gateway-{at}", store.url) for at in range(REPLICAS)]
    keys = gateways[0].import_keys(busy=(KEYS, LIMITS))["busy"]
    contenders = []
    for gateway in gateways:
        gateway.start()
        contenders.append(gateway.contender("busy", keys))
    everyone = Crowd(stage, store, contenders)
    say("warming up")
    for contender in contenders:
        stage.measure("closed", contender, "--connections", 16, "--seconds", 2)
    missing = grow(everyone, figures, rounds, seconds)
    for _ in figures.rounds(rounds, "what a call costs"):
        for count in (1, REPLICAS):
            told = everyone.measure(count, "closed", "--connections", CONNECTIONS // count, "--seconds", seconds)
            for case in ("gateway cpu", "store cpu", "all cpu", "rate"):
                figures.add(case, str(count), told[case])
            if store.counts_statements:
                figures.add("statements a call", str(count), told["statements"] / told["answered"])
                figures.add("statements/s", f"all that fit at {count}", told["statements"] / told["seconds"])
        for rate in (SLOW, FAST):
            told = everyone.measure(REPLICAS, "open", "--connections", 64, "--rate", rate // REPLICAS, "--seconds", seconds)
            who = f"{rate} calls/s"
            figures.add("commits/s", who, told["commits"] / told["seconds"])
            figures.add("answered/s", who, told["rate"])
            figures.add("p99", who, told["p99_us"])
            if store.counts_statements:
                figures.add("statements/s", who, told["statements"] / told["seconds"])
    if not store.counts_statements:
        why = "not measured: this PostgreSQL has no pg_stat_statements"
        missing |= dict.fromkeys(("statements/s", "statements/s, capped", "statements a call"), why)
    return missing


def grow(everyone, figures, rounds, seconds):
    """Calls/s of one gateway, of two and so on, where each has as much of a core."""
    pids = [contender.pid for contender in everyone.contenders]
    try:
        with capped(pids, PART):
            for _ in figures.rounds(rounds, "as replicas grow"):
                for count in range(1, REPLICAS + 1):
                    told = everyone.measure(count, "closed", "--connections", 32, "--seconds", seconds)
                    figures.add(CAPPED, str(count), told["rate"])
                    if everyone.store.counts_statements:
                        figures.add("statements/s, capped", str(count), told["statements"] / told["seconds"])
    except NoCap as why:
        return dict.fromkeys((CAPPED, "statements/s, capped"), f"not measured: {why}")
    return {}


class Crowd:
    """Calls to several gateways at once."""

    def __init__(self, stage, store, contenders):
        self.stage, self.store, self.contenders = stage, store, contenders

    def measure(self, count, kind, *options):
        cpu, before = self.cpu_seconds(), self.store.counted()
        with ThreadPoolExecutor(count) as pool:
            runs = list(pool.map(lambda contender: self.stage.load(kind, contender, *options), self.contenders[:count]))
        for contender, told in zip(self.contenders, runs):
            if told["refused"] or not told["answered"]:
                raise CallsFailed(f"{contender.name}: calls failed, by status: {told['refused'] or 'none answered'}")
        cpu = self.cpu_seconds() - cpu
        counted = {name: after - before[name] for name, after in self.store.counted().items()}
        answered = sum(told["answered"] for told in runs)
        # Statements are those of the calls and of what is written behind them.
        return counted | {
            "answered": answered, "seconds": max(told["seconds"] for told in runs), "p99_us": max(told["p99_us"] for told in runs),
            "rate": sum(told["answered"] / told["seconds"] for told in runs),
            "gateway cpu": cpu / answered * 1e6, "store cpu": counted["cpu"] / answered * 1e6,
            "all cpu": (cpu + counted["cpu"]) / answered * 1e6}

    def cpu_seconds(self):
        return sum(settled_cpu_seconds(contender.pid) for contender in self.contenders)
