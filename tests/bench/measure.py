"""What the benchmarks share: processor time, memory, and the table of ratios."""

import json
import os
import platform
import re
import statistics
import sys
import time
import urllib.error
from dataclasses import dataclass
from pathlib import Path


def wait_until(ready):
    deadline = time.monotonic() + 30
    while True:
        try:
            return ready()
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                sys.exit("the server did not start")
            time.sleep(0.05)


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def processor_times():
    return [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]


def tell_stolen(number, before):
    """Says so where the machine's host took more than 2 % of a round's time."""
    spent = [b - a for a, b in zip(before, processor_times())]
    stolen = spent[7] / max(sum(spent), 1)
    if stolen > 0.02:
        print(f"round {number}: the host took {stolen:.0%} of the processors", file=sys.stderr)


class Figures:
    """Each case's measurements of each contender, one a round."""

    def __init__(self):
        self.cases = {}

    def add(self, case, who, value):
        self.cases.setdefault((case, who), []).append(value)


@dataclass
class Row:
    """One line of the table: a ratio of two cases, and what it should be."""

    id: str
    name: str
    ours: tuple
    peer: tuple
    relation: str | None = None
    target: float | None = None

    def measured(self, figures):
        ours, peer = figures.cases[self.ours], figures.cases[self.peer]
        # Median, least and greatest of the rounds' own ratios.
        ratios = [one / other for one, other in zip(ours, peer)]
        value = statistics.median(ratios)
        met = self.target is None or (value <= self.target if self.relation == "<=" else value >= self.target)
        return {
            "id": self.id, "case": self.name, "value": round(value, 3), "target": self.target, "met": met,
            "min": round(min(ratios), 3), "max": round(max(ratios), 3),
            "ours": round(statistics.median(ours), 1), "peer": round(statistics.median(peer), 1),
        }


def report(figures, rows, path):
    """Prints the table and adds its rows to the JSON at `path`, in place of older ones with their ids."""
    print(f"{'':5}{'':42}{'ours':>10}{'peer':>10}{'ratio':>8}{'least':>7}{'most':>7}  target")
    measured = [row.measured(figures) for row in rows]
    for row, line in zip(rows, measured):
        told = "" if row.target is None else f"{row.relation} {row.target}{'' if line['met'] else '  NOT MET'}"
        print(f"{line['id']:5}{line['case']:42}{line['ours']:10.1f}{line['peer']:10.1f}"
              f"{line['value']:8.2f}{line['min']:7.2f}{line['max']:7.2f}  {told}")
    replaced = {line["id"] for line in measured}
    older = json.loads(path.read_text())["ratios"] if path.exists() else []
    ratios = [line for line in older if line["id"] not in replaced] + measured
    machine = {"cores": os.cpu_count(), "system": platform.platform(), "date": time.strftime("%Y-%m-%d")}
    path.write_text(json.dumps({"ratios": ratios, "machine": machine}, indent=1) + "\n")
    print(f"written to {path}", file=sys.stderr)
