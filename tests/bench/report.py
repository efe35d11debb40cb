"""What was measured, for people (a table), for programs (JSON) and for README (a picture)."""

import json
import os
import platform
from datetime import UTC, datetime

OURS, WARM, REFERENCE = "ours", "ours + cnid", "reference"
SIDES = (OURS, WARM, REFERENCE)


def ratio(figures, side, to=REFERENCE):
    """How many times the other side's median; None where one of them is missing."""
    mine, theirs = figures.median(side), figures.median(to)
    return mine / theirs if mine is not None and theirs else None


def show(table):
    """A table on stdout: medians with half the quartile distance, and ratios to the reference."""
    for case in dict.fromkeys(figures.case for figures in table):
        rows = [figures for figures in table if figures.case == case]
        heads = (*SIDES, "ours/ref", "cnid/ref")
        print(f"\n{case} ({rows[0].unit})")
        print(" " * 48, *(head.rjust(15) for head in heads))
        for figures in rows:
            cells = [_cell(figures, side).rjust(15) for side in SIDES]
            cells += [_times(ratio(figures, side)).rjust(15) for side in (OURS, WARM)]
            print(figures.row[:48].ljust(48), *cells)


def _cell(figures, side):
    median = figures.median(side)
    return "-" if median is None else f"{median:.1f} ±{figures.spread(side):.1f}"


def _times(value):
    return "" if value is None else f"{value:.2f}"


def budgets(table):
    """(what, measured, first budget, then, larger is better) of docs/performance.md, that exist."""
    whole = table.find("nerdctl's default chain", "ADD + DEL, whole chain")
    version = table.find("VERSION", "every plugin")
    python = table.find("VERSION", "python3 -I -S -c pass")
    at_once = table.find("50 containers at once", "ADD, containers a second")
    memory = table.find("memory", "largest process of: nerdctl's default chain")
    size = table.find("size", "all plugins, installed")
    server = table.find("memory", "cnid, resident, 0 present")
    rows = []
    if whole:
        rows.append(
            ("default chain, ADD + DEL, with cnid / reference", ratio(whole, WARM), 0.8, 0.5)
        )
        rows.append(("default chain, ADD + DEL, alone / reference", ratio(whole, OURS), 2.5, 1.0))
    if version and python:
        value = version.median(OURS) / python.median(OURS)
        rows.append(("VERSION / python3 -I -S -c pass", value, 2.0, 1.4))
    if at_once:
        value = ratio(at_once, WARM)
        rows.append(("50 at once, containers a second, with cnid / reference", value, 1.2, 3))
    rows += _scale_budgets(table)
    if size:
        rows.append(("installed size, MB", size.median(OURS), 60, 40))
    if memory:
        rows.append(("memory of one plugin process, MiB", memory.median(OURS), 40, 20))
    if server:
        rows.append(("memory of cnid, MiB", server.median(WARM), 80, 50))
    return rows


def _scale_budgets(table):
    empty = table.find("scale", "portmap + firewall ADD, 0 present")
    full = table.find("scale", "portmap + firewall ADD, 5000 present")
    if not (empty and full):
        return []
    value = full.median(WARM) / empty.median(WARM)
    return [("portmap + firewall ADD, 5,000 containers / none", value, 1.5, 1.1)]


def show_budgets(table):
    """Each budget, and whether it is met."""
    print("\nbudgets".ljust(60), "measured".rjust(10), "first".rjust(8), "then".rjust(8))
    for what, value, first, then in budgets(table):
        more = first < then  # a rate, where the others are costs
        met = [value >= limit if more else value <= limit for limit in (first, then)]
        words = "meets both" if met[1] else "meets the first" if met[0] else "MISSES"
        print(what.ljust(60), f"{value:10.2f} {first:8} {then:8}  {words}")


def write_json(table, path, rounds):
    """Everything, with where and when."""
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "rounds": rounds,
        "figures": [
            {"case": f.case, "row": f.row, "unit": f.unit, "values": f.values} for f in table
        ],
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)


def machine():
    """The class of the machine, without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return f"{os.cpu_count()} cores, {memory} GiB, Linux {platform.release().split('-')[0]}"


def draw(table, path):
    """Bars: the chains against the reference, the way a runtime feels them."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = [f for f in table if "whole chain" in f.row and f.row != "ADD + DEL, whole chain"]
    figure, axes = plt.subplots(figsize=(8, 0.62 * len(rows) + 1.6))
    colours = {OURS: "#7aa6c2", WARM: "#1f6f9f", REFERENCE: "#b0b0b0"}
    height = 0.26
    for position, side in enumerate(reversed(SIDES)):
        values = [f.median(side) or 0 for f in rows]
        places = [place + (position - 1) * height for place in range(len(rows))]
        bars = axes.barh(places, values, height, label=side, color=colours[side])
        axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
    axes.set_yticks(
        range(len(rows)), [f"{f.case}\n{f.row.split(',')[0]}" for f in rows], fontsize=8
    )
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds for one container, median; less is better")
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], frameon=False, fontsize=8)
    axes.set_title(f"{datetime.now(UTC):%Y-%m-%d}, {machine()}", fontsize=9, loc="left")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
