#!/usr/bin/env python3
"""Runs the fuzz targets, each for an equal share of the time, and writes a record.

The output of a target goes to target/fuzz, and new inputs go to fuzz/target/corpus. A target that has
ended for this commit and share is not repeated, so a run that was interrupted goes on with the next
target. A target ends at its first finding. The record keeps the rows of the targets that did not run,
and each row names its commit.

    fuzz.py (--total SECONDS | --each SECONDS) [--record FILE] [--only TARGET ...] [--again]

Fails if a target has a finding: an input on which a promise does not hold.
"""

import argparse
import datetime
import os
import pathlib
import re
import subprocess
import sys

from proof import HERE, NOT_RUN, ROOT, Step, current_version

FUZZ = ROOT / "fuzz"
CARGO = os.environ.get("CARGO", "cargo")
TARGETS = sorted(path.stem for path in (FUZZ / "fuzz_targets").glob("*.rs"))
COLUMNS = ["target", "commit", "seconds", "executions", "edges", "inputs", "committed", "findings"]


class Target(Step):
    """A fuzz target, with its output and its result for this commit and this share."""

    folder = ROOT / "target" / "fuzz"

    def __init__(self, name, version, seconds, programs):
        super().__init__(name, f"{version}, {seconds} s")
        self.commit, self.seconds, self.program = version, seconds, programs / name
        self.committed = FUZZ / "corpus" / name

    @property
    def arguments(self):
        new_inputs = FUZZ / "target" / "corpus" / self.name
        artifacts = FUZZ / "artifacts" / self.name
        for folder in (new_inputs, artifacts):
            folder.mkdir(parents=True, exist_ok=True)
        # An input that takes ten seconds is a finding too.
        return [str(self.program), f"-max_total_time={self.seconds}", "-timeout=10",
                "-print_final_stats=1", f"-artifact_prefix={artifacts}/", str(new_inputs),
                str(self.committed)]

    @property
    def findings(self):
        """Returns the files with inputs on which a promise does not hold."""
        return [str(pathlib.Path(path).relative_to(ROOT))
                for path in re.findall(r"Test unit written to (\S+)", self.output)]

    def run(self):
        """Runs the target. Stops the script if the target was interrupted."""
        super().run()
        print(f"{self.name}: {self.summary()}", flush=True)
        if not self.has_passed and not self.findings:
            self.state.unlink()
            sys.exit(f"{self.name} ended before its time; see {self.log}")

    def figures(self):
        """Returns the executions, the coverage edges, and the inputs that libFuzzer keeps."""
        executions = re.findall(r"stat::number_of_executed_units:\s*(\d+)", self.output)
        states = re.findall(r"cov: (\d+) ft: \d+ corp: (\d+)/", self.output)
        if not executions or not states:
            return None
        edges, inputs = states[-1]
        return int(executions[-1]), int(edges), int(inputs)

    def summary(self):
        """Returns the figures as a line."""
        executions, edges, inputs = self.figures() or (0, 0, 0)
        findings = ", ".join(self.findings) or "none"
        return f"{executions} executions, {edges} edges, {inputs} inputs, findings: {findings}"

    def row(self):
        """Returns the cells of the record. None if the target has not run."""
        figures = self.figures()
        if not figures:
            return None
        executions, edges, inputs = figures
        committed = sum(1 for _ in self.committed.iterdir())
        return [self.name, self.commit, str(self.result["seconds"]), str(executions), str(edges),
                str(inputs), str(committed), ", ".join(self.findings) or "none"]


def build(names):
    """Builds the targets. Returns the folder with the programs."""
    for target in [[]] if names == TARGETS else [[name] for name in names]:
        subprocess.run([CARGO, "+nightly", "fuzz", "build", *target], cwd=ROOT, check=True)
    host = re.search(r"^host: (.+)$", output_of("rustc", "+nightly", "-vV"), re.M)[1]
    return FUZZ / "target" / host / "release"


def output_of(*command):
    """Returns what a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def recorded(path):
    """Returns the cells of each target in an earlier record."""
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return {row[0]: row for row in rows if row[0] in TARGETS and len(row) == len(COLUMNS)}


def write(path, targets):
    """Writes the record."""
    sys.path.insert(0, str(HERE / "compare"))
    from measure import machine
    earlier = recorded(path)
    rows = [target.row() or earlier.get(target.name) or [target.name, NOT_RUN] for target in targets]
    ran = [row for row in rows if row[1] != NOT_RUN]
    seconds = sum(int(row[2]) for row in ran)
    findings = sum(row[-1].count(",") + 1 for row in ran if row[-1] != "none")
    tools = [output_of("rustc", "+nightly", "--version"), output_of(CARGO, "fuzz", "--version")]
    path.write_text("\n".join([
        f"# Fuzz targets, {datetime.date.today().isoformat()}", "",
        f"`make fuzz-hour` on {machine()}, {', '.join(tools)}: {seconds // 60} minutes.", "",
        f"Findings: {findings or 'none'}.", "",
        "Edges are the branches of the program that the inputs reach. libFuzzer keeps the inputs "
        "that reach more,", "and `make test` replays the committed ones of `fuzz/corpus`.", "",
        "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(row + [""] * (len(COLUMNS) - len(row))) + " |" for row in rows)]) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    time = parser.add_mutually_exclusive_group(required=True)
    time.add_argument("--total", type=int, metavar="SECONDS", help="for all targets together")
    time.add_argument("--each", type=int, metavar="SECONDS", help="for each target")
    parser.add_argument("--record", type=pathlib.Path, help="Markdown file to write")
    parser.add_argument("--only", nargs="*", choices=TARGETS, default=TARGETS, metavar="TARGET")
    parser.add_argument("--again", action="store_true", help="repeat targets that have ended")
    options = parser.parse_args()
    Target.folder.mkdir(parents=True, exist_ok=True)
    version = current_version()
    seconds = options.each or max(1, options.total // len(TARGETS))
    programs = build(options.only)
    targets = [Target(name, version, seconds, programs) for name in TARGETS]
    for target in targets:
        if target.name in options.only and (options.again or not target.has_run):
            target.run()
            if options.record:
                write(options.record, targets)
    if options.record:
        write(options.record, targets)
    return int(any(target.findings for target in targets if target.name in options.only))


if __name__ == "__main__":
    sys.exit(main())
