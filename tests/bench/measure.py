"""What the benchmarks share: processor time, memory, and rounds of figures."""

import os
import random
import re
import signal
import socket
import statistics
import sys
import time
import urllib.error
from pathlib import Path

STARTED = time.monotonic()
# Above this share of a round's processor time in the hands of the machine's host
# (another guest's work), the round says nothing.
STOLEN_AT_MOST = 0.02
ROUNDS_TO_SPARE = 6
OTHER_WORK_AT_MOST = 0.1
# Below those that Linux gives to outgoing connections: any of these may be some caller's
# before its owner has opened it.
PORTS = range(20_000, 32_000)
PORTS_GIVEN = set()


def say(text):
    print(f"[{time.monotonic() - STARTED:3.0f}s] {text}", file=sys.stderr, flush=True)


def stop_when_told():
    """A run that is told to end stops its servers, as one that is interrupted does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))


def wait_until(ready, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ready()
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                sys.exit("the server did not start")
            time.sleep(0.05)


def free_port(count=1):
    """The first of `count` ports in a row that nobody listens on. None is given twice."""
    while True:
        port = random.choice(PORTS)
        wanted = set(range(port, port + count))
        if wanted & PORTS_GIVEN or not all(map(is_free, wanted)):
            continue
        PORTS_GIVEN.update(wanted)
        return port


def is_free(port):
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _times(pid):
    """The parent, the processor time and that of children that have ended, in ticks;
    none of a process that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])


def cpu_seconds(pid):
    return _times(pid)[1] / os.sysconf("SC_CLK_TCK")


def tree(pid):
    """A process and all that descend from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (times := _times(entry.name)):
            parents[int(entry.name)] = times[0]
    found, new = {pid}, {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def tree_cpu_seconds(pid):
    ticks = [times[1] + times[2] for process in tree(pid) if (times := _times(process))]
    return sum(ticks) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def tree_resident_mib(pid):
    return sum(resident_mib(process) for process in tree(pid))


def rotated(contenders, number):
    """Who goes first changes from round to round, so that none has the warmer machine."""
    at = number % len(contenders)
    return contenders[at:] + contenders[:at]


def _processor_times():
    return [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]


def other_work():
    """The share of the processors that something else takes, before anything is
    measured. Says so where it is not next to nothing."""
    before = _processor_times()
    time.sleep(1)
    spent = [b - a for a, b in zip(before, _processor_times())]
    busy = 1 - (spent[3] + spent[4]) / max(sum(spent), 1)
    if busy > OTHER_WORK_AT_MOST:
        say(f"the processors are {busy:.0%} busy with other work: rates and latencies will say little")
    return busy


class Figures:
    """Each case's measurements of each contender, one a round that counts."""

    def __init__(self):
        self.cases = {}
        self.under_way = None
        self.other_work = other_work()

    def add(self, case, who, value):
        cases = self.cases if self.under_way is None else self.under_way
        cases.setdefault((case, who), []).append(value)

    def rounds(self, count, what=""):
        """Counts rounds from 0 until enough of them were undisturbed. `what` they
        measure is told with their progress."""
        name = f"{what}, round" if what else "round"
        kept = begun = 0
        while kept < count and begun < count + ROUNDS_TO_SPARE:
            self.under_way, before, started = {}, _processor_times(), time.monotonic()
            yield begun
            begun += 1
            spent = [b - a for a, b in zip(before, _processor_times())]
            stolen = spent[7] / max(sum(spent), 1)
            if stolen > STOLEN_AT_MOST:
                say(f"{name} {begun} is thrown away: the host took {stolen:.1%} of the processors")
            else:
                kept += 1
                for case, values in self.under_way.items():
                    self.cases.setdefault(case, []).extend(values)
                say(f"{name} {begun}: {time.monotonic() - started:.0f} s, {kept} of {count} count")
            self.under_way = None
        if kept < count:
            say(f"{name}: {kept} of {count} count, because the host took too much of the processors")

    def summary(self):
        """Of each case and contender: median, least and greatest."""
        return [
            {"case": case, "who": who, "median": statistics.median(values), "least": min(values),
             "most": max(values), "count": len(values)}
            for (case, who), values in self.cases.items()
        ]
