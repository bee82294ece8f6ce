"""A plain call through the gateway: beside nginx, with everything enforced
beside nothing, with a large body, and with few keys beside many."""

import statistics

from measure import rotated, say, tree_cpu_seconds
from report import Row
from stage import LIMITS

FEW, GOVERNED, CROWD = 1_000, 10_000, 100_000
# Each with a key of its own, one for each connection.
CALLERS = 64
IN_USE = f"{CALLERS} of {CROWD:,} keys in use"
IN_USE_OF_FEW = f"{CALLERS} of {FEW:,} keys in use"
FEW_IN_USE = f"{FEW:,} of {CROWD:,} keys in use"
# The same calls, by one key; the others are only there.
LOADED = [f"{count:,} loaded" for count in (1, FEW, CROWD)]
IN_USE_ON_POSTGRES = f"{CALLERS} of {GOVERNED:,} keys in use on PostgreSQL"
PLAIN_ON_POSTGRES = "plain on PostgreSQL"
# Pairs that differ in their limits alone.
ALIKE = f"{CALLERS} keys", f"{GOVERNED:,} keys in turn", f"{CALLERS} keys, PostgreSQL"
PLAIN_PROMPT, LARGE_PROMPT = 100, 100 * 1024 - 100
TRIALS = ("plain", "governed", "governed on PostgreSQL")


def beside_nginx(id, case, name, targets):
    return [Row(id, f"{name}, {who} ÷ nginx", (case, who), (case, "nginx"), *target)
            for who, target in zip(TRIALS, targets)]


CPU_TARGETS = [("<=", 1.15), ("<=", 1.4), ("<=", 1.4)]
ROWS = [
    *beside_nginx("R1", "cpu 16", "CPU a call, c=16 (µs)", CPU_TARGETS),
    *beside_nginx("R1", "cpu 64", "CPU a call, c=64 (µs)", CPU_TARGETS),
    *beside_nginx("R2", "rate 64", "calls/s, c=64", [(">=", 0.85), (">=", 0.7), (">=", 0.7)]),
    Row("R3", "calls/s, c=64, governed ÷ plain", ("rate 64", "governed"), ("rate 64", "plain"), ">=", 0.9),
    *[Row("R3", f"calls/s, c=64, governed, {who} ÷ {plain}", ("rate 64", who), ("rate 64", plain), ">=", 0.9)
      for who, plain in ((IN_USE, "plain"), (IN_USE_ON_POSTGRES, "plain"), (IN_USE_ON_POSTGRES, PLAIN_ON_POSTGRES))],
    *[Row("R3", f"calls/s, c=64, governed ÷ plain, {keys} each", ("rate alike", f"governed, {keys}"),
          ("rate alike", f"plain, {keys}"), ">=", 0.9) for keys in ALIKE],
    Row("R9", "CPU a call, governed, 100 KiB ÷ 0.2 KiB", ("cpu large", "governed"), ("cpu 16", "governed"), "<=", 2.5),
    Row("R9", "CPU a call, nginx, 100 KiB ÷ 0.2 KiB", ("cpu large", "nginx"), ("cpu 16", "nginx")),
    *[Row("R11", f"calls/s, c=64, one key, {who} ÷ {LOADED[0]}", ("rate of keys", who), ("rate of keys", LOADED[0]),
          ">=", 0.95) for who in LOADED[1:]],
    Row("R11", f"calls/s, c=64, {IN_USE} ÷ {IN_USE_OF_FEW}", ("rate of keys", IN_USE), ("rate of keys", IN_USE_OF_FEW),
        ">=", 0.95),
    *[Row("R11", f"calls/s, c=64, {who} ÷ 1 key", ("rate of keys", who), ("rate of keys", LOADED[0]), ">=", 0.95)
      for who in (IN_USE_OF_FEW, IN_USE, FEW_IN_USE, f"{FEW:,} keys in turn", f"{CROWD:,} keys in turn")],
]


def start_ours(stage, name):
    """Ours on SQLite: one key without limits, and keys with all of them, each of which
    has been called once."""
    gateway, keys = started(stage, name, plain=(1, {}), governed=(GOVERNED, LIMITS))
    plain, governed = (gateway.contender(name, keys[name]) for name in ("plain", "governed"))
    say("warming up: each key is called once")
    stage.measure("closed", governed, "--connections", 64, "--calls", GOVERNED)
    return plain, governed


def run(stage, figures, rounds, seconds):
    stage.start_provider()
    nginx = stage.start_nginx()
    say(f"importing {CROWD:,} keys")
    # Each number of keys has a gateway of its own: what the others have in memory is
    # not measured with it.
    sqlite, keys = started(stage, "sqlite", plain=(GOVERNED, {}), governed=(GOVERNED, LIMITS))
    alike = pairs(sqlite, keys["plain"], keys["governed"], zip(ALIKE, (CALLERS, GOVERNED)))
    plain, governed = sqlite.contender("plain", keys["plain"][:1]), sqlite.contender("governed", keys["governed"])
    one, keys = started(stage, "one", one=(1, LIMITS))
    by_keys = [one.contender(LOADED[0], keys["one"])]
    small, keys = started(stage, "few", few=(FEW, LIMITS))
    by_keys += [small.contender(name, keys["few"][:count])
                for name, count in ((LOADED[1], 1), (IN_USE_OF_FEW, CALLERS), (f"{FEW:,} keys in turn", FEW))]
    few = by_keys[-1]
    large, keys = started(stage, "crowd", crowd=(CROWD, LIMITS))
    in_use = large.contender(IN_USE, keys["crowd"][:CALLERS])
    by_keys += [in_use, *[large.contender(name, keys["crowd"][:count])
                          for name, count in ((LOADED[2], 1), (FEW_IN_USE, FEW), (f"{CROWD:,} keys in turn", CROWD))]]
    crowd = by_keys[-1]
    url, postgres_pid = stage.start_postgres()
    shared = stage.gateway("postgres", url)
    keys = shared.import_keys(plain=(CALLERS, {}), governed=(GOVERNED, LIMITS))
    shared.start()
    alike += pairs(shared, keys["plain"], keys["governed"], [(ALIKE[-1], CALLERS)])
    on_postgres = shared.contender("governed on PostgreSQL", keys["governed"])
    in_use_on_postgres = shared.contender(IN_USE_ON_POSTGRES, keys["governed"][:CALLERS])
    plain_on_postgres = shared.contender(PLAIN_ON_POSTGRES, keys["plain"][:1])
    for contender in (on_postgres, in_use_on_postgres, plain_on_postgres):
        contender.store_pid = postgres_pid

    def call_each(*contenders):
        for contender, calls in contenders:
            stage.measure("closed", contender, "--connections", 64, "--calls", calls)

    say("warming up: each key is called once")
    call_each((nginx, GOVERNED), (governed, GOVERNED), (few, FEW), (crowd, CROWD), (on_postgres, GOVERNED))

    def closed(contender, connections, prompt=PLAIN_PROMPT):
        return stage.measure("closed", contender, "--connections", connections, "--seconds", seconds, "--prompt", prompt)

    contenders = [nginx, plain, governed, on_postgres]
    # What no row compares has rounds of its own: the shorter a round, the less there is
    # to throw away when the host takes the processors for a while.
    for number in figures.rounds(rounds, "16 connections"):
        for contender in rotated(contenders, number):
            processor_time(figures, closed, contender, 16)
        for contender in (nginx, governed):
            figures.add("cpu large", contender.name, closed(contender, 16, LARGE_PROMPT)["cpu_us"])
    for number in figures.rounds(rounds, "64 connections"):
        for contender in rotated([*contenders, in_use, in_use_on_postgres, plain_on_postgres], number):
            processor_time(figures, closed, contender, 64)
    call_each((alike[2], GOVERNED))
    for number in figures.rounds(rounds, "limits"):
        for contender in rotated(alike, number):
            figures.add("rate alike", contender.name, closed(contender, 64)["rate"])
    for number in figures.rounds(rounds, "keys"):
        for contender in rotated(by_keys, number):
            figures.add("rate of keys", contender.name, closed(contender, 64)["rate"])
    for who in ("nginx", "plain"):
        busy = statistics.fmean(figures.cases.get(("busy 64", who), [1]))
        if busy < 0.9:
            say(f"{who} used {busy:.0%} of its core at c=64: what is around it bounds its calls/s")
    return {}


def started(stage, name, **sets):
    gateway = stage.gateway(name, f"sqlite://{stage.folder}/{name}.db")
    keys = gateway.import_keys(**sets)
    gateway.start()
    return gateway, keys


def pairs(gateway, plain, governed, sizes):
    return [gateway.contender(f"{limits}, {name}", keys[:count]) for name, count in sizes
            for limits, keys in (("plain", plain), ("governed", governed))]


def processor_time(figures, measure, contender, connections):
    """Of a call, at the contender and at the PostgreSQL that it asks, if any; and how
    many calls there were a second."""
    store_cpu = tree_cpu_seconds(contender.store_pid) if contender.store_pid else 0
    told = measure(contender, connections)
    figures.add(f"cpu {connections}", contender.name, told["cpu_us"])
    figures.add(f"rate {connections}", contender.name, told["rate"])
    figures.add(f"busy {connections}", contender.name, told["cpu"] / told["seconds"])
    if contender.store_pid:
        used = tree_cpu_seconds(contender.store_pid) - store_cpu
        figures.add(f"cpu {connections} of PostgreSQL", contender.name, used / told["answered"] * 1e6)
