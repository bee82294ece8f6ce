"""The table of ratios and the JSON that it is kept in."""

import json
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass

from measure import say


@dataclass
class Row:
    """One line of the table: a ratio of two cases, or one case alone where there
    is no peer, and what it should be."""

    id: str
    name: str
    ours: tuple
    peer: tuple | None = None
    relation: str | None = None
    target: float | None = None

    def measured(self, figures, missing):
        line = {"id": self.id, "case": self.name, "relation": self.relation, "target": self.target}
        for case in filter(None, (self.ours, self.peer)):
            if case not in figures.cases:
                return line | {"value": None, "note": missing.get(case[1]) or missing.get(case[0], "not measured")}
        values = ours = figures.cases[self.ours]
        if self.peer:
            peer = figures.cases[self.peer]
            # A difference to direct may be nothing at all, and then there is no ratio.
            pairs = [(one, other) for one, other in zip(ours, peer) if other > 0]
            if not pairs:
                return line | {"value": None, "note": f"not measured: {self.peer[1]} adds nothing"}
            # Median, least and greatest of the rounds' own ratios.
            values = [one / other for one, other in pairs]
            line["peer"] = statistics.median(peer)
        value = statistics.median(values)
        return line | {"value": value, "least": min(values), "most": max(values), "count": len(values),
                       "ours": statistics.median(ours), "met": self.is_met(values, value)}

    def is_met(self, values, value):
        # What must be exact must be so each time.
        tests = {None: True, "<=": self.target is None or value <= self.target,
                 ">=": self.target is None or value >= self.target, "==": all(one == self.target for one in values)}
        return tests[self.relation]


def figure(value):
    """Four digits where there are as many."""
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"


def report(part, figures, rows, path, missing=None):
    """Prints the table and puts it into the JSON at `path`, in place of the part's
    last one. `missing` says of a contender or a case why there is nothing of it."""
    if not figures.cases:
        sys.exit("error: no round counts: the host took too much of the processors")
    kept = json.loads(path.read_text()) if path.exists() else {}
    older = previous(path)
    lines = [{"part": part} | row.measured(figures, missing or {}) for row in rows]
    width = max(len(line["case"]) for line in lines)
    print(f"{'':7}{'':{width}}{'found':>10}{'beside':>10}{'ratio':>9}{'least':>9}{'most':>9}{'last run':>9}  target")
    for line in lines:
        print(f"{line['id']:7}{line['case']:{width}}" + told(line, older.get((line["id"], line["case"]))))
    ratios = [line for line in kept.get("ratios", []) if line.get("part") != part] + lines
    all_figures = [line for line in kept.get("figures", []) if line.get("part") != part]
    all_figures += [{"part": part} | line for line in figures.summary()]
    machine = {"cores": os.cpu_count(), "processor": processor(), "system": platform.platform()}
    run = {"date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "other_work": round(figures.other_work, 2)}
    runs = kept.get("runs", {}) | {part: run}
    path.write_text(json.dumps({"machine": machine, "runs": runs, "ratios": ratios, "figures": all_figures}, indent=1) + "\n")
    say(f"written to {path}")


def told(line, before):
    if line["value"] is None:
        return f"  {line['note']}"
    has_peer = "peer" in line
    least_most = f"{figure(line['least']):>9}{figure(line['most']):>9}" if line["count"] > 1 else " " * 18
    target = "" if line["target"] is None else f"{line['relation']} {line['target']:g}{'' if line['met'] else '  NOT MET'}"
    return (f"{figure(line['ours']):>10}{figure(line.get('peer')):>10}{figure(line['value']) if has_peer else '':>9}"
            f"{least_most}{figure(before):>9}  {target}").rstrip()


def previous(path):
    """The values of the run before, by row."""
    file = path.with_name("previous.json")
    lines = json.loads(file.read_text())["ratios"] if file.exists() else []
    return {(line["id"], line["case"]): line["value"] for line in lines}


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
