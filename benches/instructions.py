#!/usr/bin/env python3
"""Counts instructions under callgrind and compares them with benches/instructions.json.

Each case runs twice, with few and with many repetitions. The difference is the cost of the
repetitions, without start and exit. --save writes a new baseline, for a change that is worth its
cost or that saves instructions.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = HERE.parent / "target" / "release" / "instructions"
BASELINE = HERE / "instructions.json"
CASES = ["verify", "forged", "stale", "claim", "layer"]
FEW, MANY = 100, 600
# Tolerated growth relative to the baseline, which is larger for another compiler.
TOLERANCE, OTHER_COMPILER = 0.03, 0.15


def count(case, times):
    """Returns the instructions of a run with `times` repetitions."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(PROGRAM), case,
               str(times), "--prepared", str(MANY)]
    done = subprocess.run(command, capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not collected:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr}")
    return int(collected.group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help="write the baseline")
    options = parser.parse_args()
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip()
    counted = {case: round((count(case, MANY) - count(case, FEW)) / (MANY - FEW)) for case in CASES}
    if options.save:
        BASELINE.write_text(json.dumps({"compiler": compiler, "instructions": counted}, indent=1) + "\n")
    baseline = json.loads(BASELINE.read_text())
    tolerance = TOLERANCE if baseline["compiler"] == compiler else OTHER_COMPILER
    worse = []
    for case, now in counted.items():
        before = baseline["instructions"][case]
        change = now / before - 1
        print(f"{case:8} {now:8} instructions, baseline {before} ({change:+.1%})")
        if change > tolerance:
            worse.append(case)
    if worse:
        sys.exit(f"{', '.join(worse)}: more than {tolerance:.0%} above the baseline; "
                 "to accept this cost, run benches/instructions.py --save")


if __name__ == "__main__":
    main()
