"""The mutants that cargo-mutants lists, and their outcomes."""

import collections
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CARGO = os.environ.get("CARGO", "cargo")
# "skipped": no switch can express the mutant.
OUTCOMES = ["caught", "timeout", "missed", "unviable", "skipped", "not run"]
# The tests at the end of a file are no part of its code.
TESTS = re.compile(r"^#\[cfg\(test\)\]$", re.MULTILINE)


@dataclasses.dataclass
class Mutant:
    """One change of the code. `outcome` is set if no test needs to run."""

    # The change, without its line number, which every change of the file moves.
    name: str
    line: str
    # The number among mutants of the same name and line.
    repetition: int
    listed: dict
    number: int = 0
    outcome: str | None = None

    @property
    def key(self):
        return self.name, self.line

    @property
    def function(self):
        function = self.listed["function"]
        return function and function["function_name"].split("::")[-1]

    @property
    def has_hidden_type(self):
        """Whether the mutant returns from a function with `impl`, which permits one type of values only."""
        function = self.listed["function"]
        return self.listed["genre"] == "FnValue" and "impl " in function["return_type"]

    def __str__(self):
        return f"{self.name}: {self.line}"

    def for_switch(self):
        return {"id": self.number, **self.listed}


def listed(area, skipped):
    """Returns the mutants of an area, without those whose names contain a skipped text."""
    files = [part for file in area["files"] for part in ("--file", file)]
    excluded = [part for file in area.get("exclude", []) for part in ("--exclude", file)]
    excluded += [part for text in skipped for part in ("--exclude-re", re.escape(text))]
    done = subprocess.run([CARGO, "mutants", "--list", "--json", "--package", area["package"], *files,
                           *excluded], capture_output=True, text=True, check=True, cwd=ROOT)
    repetitions = collections.Counter()
    found = []
    for entry in json.loads(done.stdout):
        text = (ROOT / entry["file"]).read_text().splitlines()[entry["span"]["start"]["line"] - 1].strip()
        name = re.sub(r":\d+:\d+: ", ": ", entry["name"])
        found.append(Mutant(name, text, repetitions[name, text], entry))
        repetitions[name, text] += 1
    return found


class Outcomes:
    """The outcomes of earlier runs and of this one, in a file."""

    def __init__(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.codes = {}
        lines = path.read_text().splitlines() if path.exists() else []
        self.known = {tuple(key): outcome for key, outcome in map(json.loads, lines)}

    def key(self, mutant):
        file = mutant.listed["file"]
        if file not in self.codes:
            code = TESTS.split((ROOT / file).read_text())[0]
            self.codes[file] = hashlib.sha256(code.encode()).hexdigest()[:16]
        return self.codes[file], mutant.name, mutant.line, mutant.repetition

    def holds(self, mutant):
        """Whether the mutant was caught. A missed mutant runs again, since there may be a new test."""
        return self.known.get(self.key(mutant)) in ("caught", "timeout")

    def before_tests(self, mutant):
        """Returns the outcome of a mutant that no test can run against."""
        known = self.known.get(self.key(mutant))
        return known if known in ("unviable", "skipped") else None

    def of(self, mutant):
        return self.known.get(self.key(mutant), "not run")

    def add(self, mutant, outcome):
        if self.known.get(self.key(mutant)) == outcome:
            return
        self.known[self.key(mutant)] = outcome
        with self.path.open("a") as file:
            file.write(json.dumps([self.key(mutant), outcome]) + "\n")
