"""Puts what was measured into the documents: between a line `<!-- measured: PART -->`
and the next `<!-- end -->`, in place of what stood there. Run by scripts/bench.sh."""

import argparse
import json
import math
import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from measure import OTHER_WORK_AT_MOST, say
from report import figure

DOCUMENTS = ("docs/performance.md", "docs/scale.md")
PLOT = Path("docs/performance.svg")
BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
# Of the parts that show what was found of each contender, not its ratios alone.
CONTENDERS = {
    "calls": (("nginx", "plain", "governed", "governed on PostgreSQL"),
              (("cpu 16", "CPU a call, c=16"), ("cpu 64", "CPU a call, c=64"), ("rate 64", "calls/s, c=64"))),
    "latency": (("direct", "nginx", "plain", "governed"), (("p50", "p50, c=1"), ("p99", "p99, c=1"))),
}


class Results:
    def __init__(self, path):
        self.told = json.loads(path.read_text())

    def rows(self, part):
        return [line for line in self.told["ratios"] if line.get("part") == part]

    def median(self, part, case, who):
        return next((line["median"] for line in self.told["figures"]
                     if (line["part"], line["case"], line["who"]) == (part, case, who)), None)

    def whence(self, part):
        machine, run = self.told["machine"], self.told["runs"][part]
        rounds = max((row.get("count", 0) for row in self.rows(part)), default=0)
        told = f"{run['date']}, {machine['processor']}, {machine['cores']} cores, {rounds} round{'s' if rounds != 1 else ''}."
        if run["other_work"] > OTHER_WORK_AT_MOST:
            told += f" The machine was {run['other_work']:.0%} busy with other work, so rates and latencies say little."
        return told


def table(head, lines):
    rows = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(str(cell) for cell in row)} |\n" for row in rows)


def ratios(results, part):
    lines = []
    for row in results.rows(part):
        if row["value"] is None:
            lines.append([row["id"], row["case"].strip(), "", "", "", "", row["note"].replace("|", "/")])
            continue
        spread = f"{figure(row['least'])} to {figure(row['most'])}" if row["count"] > 1 else ""
        target = "" if row["target"] is None else f"{row['relation']} {row['target']:g}{'' if row['met'] else ', not met'}"
        ratio = figure(row["value"]) if "peer" in row else ""
        lines.append([row["id"], row["case"].strip(), figure(row["ours"]), figure(row.get("peer")), ratio, spread,
                      target.replace("<=", "≤").replace(">=", "≥").replace("==", "exactly")])
    return table(["", "", "found", "beside", "ratio", "range", "target"], lines)


def contenders(results, part):
    names, columns = CONTENDERS[part]
    lines = [[who, *(figure(results.median(part, case, who)) for case, _ in columns)] for who in names]
    return table(["times in µs", *(name for _, name in columns)], lines)


def block(results, part):
    text = f"{results.whence(part)}\n\n"
    if part == "calls":
        text += f"![Processor time of a call]({PLOT.name})\n\n"
    if part in CONTENDERS:
        text += f"{contenders(results, part)}\n"
    return text + ratios(results, part)


def bars(results):
    found = [(name, results.median("calls", "cpu 16", who)) for name, who in (
        ("nginx", "nginx"), ("ours, plain", "plain"), ("ours, governed", "governed"),
        ("ours, governed, PostgreSQL", "governed on PostgreSQL"))]
    found += [(name, results.median("rivals", "cpu", name)) for name in ("litellm-rs", "Portkey", "LiteLLM")]
    return [(name, value) for name, value in found if value]


def plot(found):
    """Bars on a logarithmic scale: whole decades, from below the least."""
    left, width, height, line = 210, 400, 40 + 28 * len(found) + 24, 28
    first = math.floor(math.log10(min(value for _, value in found)))
    last = math.ceil(math.log10(max(value for _, value in found)))

    def x(value):
        return left + width * (math.log10(value) - first) / max(last - first, 1)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" height="{height}" '
             'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>',
             '<text x="10" y="20" font-weight="bold">Processor time of a call at 16 connections (µs, logarithmic)</text>']
    for power in range(first, last + 1):
        at = x(10**power)
        parts.append(f'<line x1="{at:.0f}" x2="{at:.0f}" y1="34" y2="{height - 20}" stroke="#ddd"/>'
                     f'<text x="{at:.0f}" y="{height - 6}" fill="#666" text-anchor="middle">{10**power:,}</text>')
    for at, (name, value) in enumerate(found):
        y = 40 + line * at
        colour = "#2b6cb0" if name.startswith("ours") else "#a0aec0"
        parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
                     f'<rect x="{left}" y="{y}" width="{max(x(value) - left, 1):.0f}" height="20" fill="{colour}"/>'
                     f'<text x="{x(value) + 6:.0f}" y="{y + 14}">{figure(value)}</text>')
    return "\n".join(parts) + "\n</svg>\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, required=True)
    path = parser.parse_args().json
    if not path.exists():
        sys.exit("error: nothing was measured yet: run scripts/bench.sh first")
    results = Results(path)
    written = []

    def replaced(found):
        part = found[2]
        if not results.rows(part):
            return found[0]
        written.append(part)
        return f"{found[1]}{block(results, part)}\n{found[3]}"

    for name in DOCUMENTS:
        document = Path(name)
        document.write_text(BLOCK.sub(replaced, document.read_text()))
    if found := bars(results):
        PLOT.write_text(plot(found))
    say(f"written: {', '.join(written) or 'nothing, for nothing was measured'}")


if __name__ == "__main__":
    main()
