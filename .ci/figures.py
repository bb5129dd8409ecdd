#!/usr/bin/env python3
"""Holds the figures that the READMEs quote of the bench `layers` against `benches/promised.toml`.

Each line of that file has its row in benches/README.md, and those that say `front` in README.md too.
Whether a promise is kept is reckoned anew from the figures as they are quoted: what is called kept
must be, and what is not must be called missed. A figure itself is only as good as the run that it is
from, so that has to be named: date, machine, command.
"""

import re
import sys
import tomllib

from workspace import ROOT

PARTS = {"over", "ns", "plus", "ratio", "megabytes", "allocations", "more_allocations"}
HEAD = ["layer", "ns", "over bare", "allocs", "beside", "its ns", "its allocs", "ratio", "promised", ""]
BLOCK = re.compile(r"<!-- layers: figures -->\n(.*?)<!-- layers: end -->", re.DOTALL)
RUN = re.compile(r"^\d{4}-\d\d-\d\d, \d+ × .+, `cargo bench -p buttress-benches --bench layers`, ", re.MULTILINE)


def number(cell):
    """The number in a cell, whatever unit it has; none in an empty one."""
    found = re.match(r"-?[\d.]+", cell)
    return float(found[0]) if found else None


def broken(line, cells):
    """Which parts of a promise the quoted figures break, in the words of the bench."""
    ns, over, allocs, its_ns, its_allocs, ratio = (number(cells[k]) for k in (1, 2, 3, 5, 6, 7))
    over = ns if over is None else over
    slack = 1e-9
    time = [
        "over" in line and over > line["over"] + slack,
        "ns" in line and ns > line["ns"] + slack,
        "plus" in line and over > line.get("times", 1) * its_ns + line["plus"] + slack,
        "ratio" in line and ratio > line["ratio"] + slack,
        "megabytes" in line and ns < line["megabytes"],
    ]
    allocations = [
        "allocations" in line and allocs > line["allocations"] + slack,
        "more_allocations" in line and allocs > its_allocs + line["more_allocations"] + slack,
    ]
    return [part for part, parts in (("time", time), ("allocations", allocations)) if any(parts)]


def rows(block):
    """The rows of the table in a block, its head first."""
    lines = [line for line in block.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if set(line) - set("|-: ")]


def faults(name, lines):
    """What is wrong with what this file quotes."""
    block = BLOCK.search((ROOT / name).read_text())
    if not block:
        return [f"{name}: no figures between `<!-- layers: figures -->` and `<!-- layers: end -->`"]
    found = []
    if not RUN.search(block[1]):
        found.append(f"{name}: the date, the machine and the command of the figures are not named")
    head, *quoted = rows(block[1]) or [[]]
    if head != HEAD:
        return [*found, f"{name}: the columns are {head}, expected {HEAD}"]
    table = {}
    for cells in quoted:
        if len(cells) != len(HEAD):
            found.append(f"{name}: {len(cells)} cells in {cells}")
        elif (cells[0], cells[4]) in table:
            found.append(f"{name}: twice: {cells[0]}, {cells[4]}")
        else:
            table[cells[0], cells[4]] = cells
    for line in lines:
        what, beside, promised = line["what"], line.get("beside", ""), line.get("promised", "")
        title = f"{name}: {what}" + (f", beside {beside}" if beside else "")
        cells = table.pop((what, beside), None)
        if cells is None:
            found.append(f"{title}: not quoted")
            continue
        needed = [1, 3, *([5, 6, 7] if beside else [])]
        if any(number(cells[k]) is None for k in needed):
            found.append(f"{title}: a figure is missing: {cells}")
            continue
        if cells[8] != promised:
            found.append(f"{title}: promised is {promised!r}, the table says {cells[8]!r}")
        parts = broken(line, cells)
        expected = "" if not promised else "**missed**: " + ", ".join(parts) if parts else "kept"
        if cells[9] != expected:
            found.append(f"{title}: the table says {cells[9]!r}, its figures say {expected!r}")
    found += [f"{name}: nobody promised: {what}, {beside}" for what, beside in table]
    return found


def main():
    lines = tomllib.loads((ROOT / "benches" / "promised.toml").read_text())["line"]
    front = [line for line in lines if line.get("front")]
    for line in lines:
        if ("promised" in line) != bool(PARTS & line.keys()):
            sys.exit(f"promised.toml: {line['what']}: a promise is its words and its numbers")
    found = faults("benches/README.md", lines) + faults("README.md", front)
    if found:
        sys.exit("\n".join(found))
    promised = [line for line in lines if "promised" in line]
    print(f"{len(lines)} lines, {len(promised)} with a promise, {len(front)} of them in README.md")


if __name__ == "__main__":
    main()
