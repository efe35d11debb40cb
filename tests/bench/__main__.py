"""Ours and the reference in turn, same configuration, same run: ``make bench``.

``python -m tests.bench [--rounds N] [--only CASE,...] [--json FILE] [--picture FILE]``; needs root,
built plugins and the reference's (``--reference DIRECTORY``). Medians of N rounds; the sides take
turns within a round, so that a busy machine is unfair to none. Nothing here is a test: machines
differ, and what must hold everywhere is in the tests.
"""

import argparse

from tests.bench import cases, report
from tests.bench.cases import CASES, Table
from tests.bench.sides import Side


def main():
    """Measure, show, and write what was asked for."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=20)
    words.add_argument("--only", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    words.add_argument("--ours", default="dist/cni/bin")
    words.add_argument("--reference", default="/usr/lib/cni")
    words.add_argument("--json")
    words.add_argument("--picture")
    words.add_argument("--scale", help="numbers of attachments present, such as 0,100")
    asked = words.parse_args()
    if asked.scale:
        cases.SCALE = tuple(map(int, asked.scale.split(",")))
    table = Table()
    sides = [
        Side(report.OURS, asked.ours),
        Side(report.WARM, asked.ours, cnid=True),
        Side(report.REFERENCE, asked.reference),
    ]
    try:
        for name in asked.only.split(","):
            print(f"measuring: {CASES[name].__doc__.splitlines()[0]}", flush=True)
            CASES[name](table, sides, asked.rounds)
    finally:
        for side in sides:
            side.close()
    report.show(table)
    report.show_budgets(table)
    if asked.json:
        report.write_json(table, asked.json, asked.rounds)
    if asked.picture:
        report.draw(table, asked.picture)


if __name__ == "__main__":
    main()
