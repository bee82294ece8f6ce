"""Where the instructions of a call go, counted by callgrind: of all threads and with
what is written behind, without the kernel. A busy machine changes none of it. Needs a
build with names."""

import argparse
import re
import sys
import tempfile
import urllib.request
from collections import Counter, defaultdict
from pathlib import Path

from division import LANGUAGE, OURS, first_fitting
from instructions import MASTER, WARM, Ends, Gateway
from measure import Figures, free_port, stop_when_told
from report import Row, report
from stage import LIMITS

CALLS = 1_500
# Of a governed key's calls each is its first for a while.
KEYS = {"plain": (1, {}), "governed": (500, LIMITS)}
ALL = "all"
ROWS = [Row("", f"{name} (instructions), governed beside plain", (name, "governed"), (name, "plain"))
        for name in (ALL, *(name for name, _ in OURS))]
REST = OURS[-1][0]


def run(binary, folder, figures):
    for who, (count, limits) in KEYS.items():
        own = folder / who
        own.mkdir()
        counts = divided(called(binary, own, {f"{who}-{at}": limits for at in range(count)}))
        for name, _ in OURS:
            figures.add(name, who, counts[name] / CALLS)
        figures.add(ALL, who, counts.total() / CALLS)


def called(binary, folder, keys):
    """Callgrind's file of so many calls, all written."""
    ends = Ends()
    gateway = Gateway(binary, ends.provider, folder)
    admin = f"127.0.0.1:{free_port()}"
    gateway.environment["LLM_PROXY_ADMIN_LISTEN"] = admin
    gateway.import_keys(keys)
    gateway.start()

    def call(count):
        found = {ends.plain(secrets[at % len(secrets)]) for at in range(count)}
        if found != {200}:
            sys.exit(f"calls were answered {found}")
        # Who asks for the rows has all that was written behind put into the tables.
        asked = urllib.request.Request(f"http://{admin}/spend/logs?page_size=1", headers={"authorization": f"Bearer {MASTER}"})
        urllib.request.urlopen(asked, timeout=60).read()
        return gateway.dumped()

    try:
        ends.call_to(f"127.0.0.1:{gateway.port}")
        secrets = list(gateway.keys.values())
        call(max(WARM, len(secrets)))
        return call(CALLS)
    finally:
        gateway.stop()


def divided(file):
    """Instructions by what they were spent in: those of the language's own functions
    are their callers', in the proportion of their calls' cost."""
    own, calls = read(file)
    places = {}

    def shares(function, way=()):
        if function in places:
            return places[function]
        if not LANGUAGE.match(function):
            found = Counter({first_fitting(OURS, function): 1.0})
        else:
            found = Counter()
            callers = {caller: cost for caller, cost in calls[function].items() if caller not in (*way, function)}
            for caller, cost in callers.items():
                for place, share in shares(caller, (*way, function)).items():
                    found[place] += share * cost / sum(callers.values())
            found = found or Counter({REST: 1.0})
        # What was found on the way through a circle leaves something out.
        if not way:
            places[function] = found
        return found

    counts = Counter()
    for function, count in own.items():
        for place, share in shares(function).items():
            counts[place] += count * share
    return counts


def read(file):
    """Each function's own instructions; and of each its callers, with the cost of
    their calls. Callgrind: a name in full is told once, and a call's cost stands in
    the line below it."""
    names, own, calls = {}, Counter(), defaultdict(Counter)

    def name(told):
        number, _, text = told.partition(" ")
        return names.setdefault(number, re.sub(r"'\d+$", "", text)) or number

    caller = callee = None
    is_call = False
    for line in Path(file).read_text(errors="replace").splitlines():
        if line.startswith("fn="):
            caller = name(line[3:])
        elif line.startswith("cfn="):
            callee = name(line[4:])
        elif line.startswith("calls="):
            is_call = True
        elif re.match(r"[+\-*\d]", line):
            cost = int(line.split()[1])
            if is_call:
                calls[callee][caller] += cost
            elif caller:
                own[caller] += cost
            is_call = False
    return own, calls


def main():
    stop_when_told()
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="instructions-") as folder:
        run(arguments.bin.resolve(), Path(folder), figures)
    report("instructions", figures, ROWS, arguments.json)


if __name__ == "__main__":
    main()
