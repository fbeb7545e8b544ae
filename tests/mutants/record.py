"""The record: a row and the survivors of each area."""

import collections
import datetime
import re
import subprocess

from mutants import CARGO, OUTCOMES, ROOT

HEAD = """# Mutants

`make mutants` writes this record. cargo-mutants lists the mutants of the files in
[areas.toml](../../tests/mutants/areas.toml); each is one change of the code. One build has all of them
behind switches, and [a test](../../tests/mutants/tests/switches.rs) shows that a switch and the changed
code give the same results.

* A mutant is caught if a test of the crate fails, or if its tests run into a timeout. It is missed if
  all tests pass.
* A missed mutant is explained if it changes no result, or if its code is not in the build.
* An unviable mutant does not compile.
* A mutant is not run if the run was stopped before.
* No test runs against a skipped mutant. Its code runs at compile time, such as the value of a constant,
  or it changes the type that an `impl` hides. A switch can express neither.

"""
TABLE = ["| area | " + " | ".join(OUTCOMES) + " | share caught | caught or explained | date | commit | version |",
         "|---" * (len(OUTCOMES) + 6) + "|"]


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()


def row(area, results, reasons):
    counts = collections.Counter(outcome for _, outcome in results)
    noticed = counts["caught"] + counts["timeout"]
    explained = sum(outcome == "missed" and mutant.key in reasons for mutant, outcome in results)
    tested = noticed + counts["missed"]
    shares = [f"{count / tested:.1%}" if tested else "–" for count in (noticed, noticed + explained)]
    cells = [area, *(str(counts[outcome]) for outcome in OUTCOMES), *shares, f"{datetime.date.today()}",
             output("git", "rev-parse", "--short", "HEAD"), output(CARGO, "mutants", "--version")]
    return f"| {' | '.join(cells)} |"


def survivors(area, results, reasons):
    missed = [mutant for mutant, outcome in results if outcome == "missed"]
    if not missed:
        return []
    lines = [f"## Survivors of {area}", "", "| mutant | line | why no test notices it |", "|---|---|---|"]
    for mutant in missed:
        cells = [f"`{mutant.name}`", f"`{mutant.line}`", reasons.get(mutant.key, "a test is missing")]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*lines, ""]


def earlier(path, areas):
    """Returns the row and the survivors of each area in the last record."""
    rows, sections = {}, {}
    records = sorted(path.parent.glob("*-mutants.md"))
    if not records:
        return rows, sections
    area = None
    for line in records[-1].read_text().splitlines():
        if heading := re.fullmatch(r"## Survivors of (.*)", line):
            area = heading[1]
            sections[area] = []
        cells = line.split(" | ")
        if area:
            sections[area].append(line)
        elif (name := cells[0].removeprefix("| ")) in areas:
            rows[name] = line
    return rows, sections


def write(path, areas, area, results, reasons):
    """Writes the results of an area to the record, and keeps those of the others."""
    rows, sections = earlier(path, areas)
    rows[area] = row(area, results, reasons)
    sections[area] = survivors(area, results, reasons)
    empty = " |" * (len(OUTCOMES) + 5)
    text = [*TABLE, *(rows.get(name, f"| {name} |{empty}") for name in areas), ""]
    for name in areas:
        text += sections.get(name, [])
    path.write_text(HEAD + "\n".join(text).rstrip() + "\n")
