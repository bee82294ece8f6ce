"""How many calls of 256 callers a budget admits that is exactly so many calls'."""

from measure import say
from report import Row
from stage import CallsFailed

CALLS = 2_000
# The upper bound of an `exact` call, and what it is charged: 64 tokens.
CALL_USD = 64 * 0.00001
CALLERS = 256
ROWS = [Row("R10", f"admitted of a budget of {CALLS:,} calls, c={CALLERS}, {store}", ("admitted", store), None, "==", CALLS)
        for store in ("SQLite", "PostgreSQL")]


def run(stage, figures, rounds, seconds):
    stage.start_provider()
    for store, database in (("SQLite", f"sqlite://{stage.folder}/budget.db"), ("PostgreSQL", stage.start_postgres()[0])):
        gateway = stage.gateway(store, database)
        budget = {"max_budget": round(CALLS * CALL_USD, 9)}
        keys = gateway.import_keys(bound=(rounds, budget))["bound"]
        gateway.start()
        for at, key in enumerate(keys):
            admitted = exhaust(stage, gateway.contender(f"bound-{at}", [key]))
            figures.add("admitted", store, admitted)
        say(f"{store}: admitted {figures.cases['admitted', store]}")
        stage.end(gateway.pid)
    return {}


def exhaust(stage, contender):
    """Calls until nothing is admitted any more, with a pause in which all is settled."""
    admitted, seconds = 0, 2
    for _ in range(10):
        told = stage.load("closed", contender, "--connections", CALLERS, "--seconds", seconds, "--model", "exact")
        if set(told["refused"]) - {"422"}:
            raise CallsFailed(f"{contender.name}: calls failed, by status: {told['refused']}")
        admitted += told["answered"]
        if not told["answered"]:
            return admitted
    raise CallsFailed(f"{contender.name}: admitted {admitted:,} calls, and there is no end")
