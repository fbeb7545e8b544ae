#!/usr/bin/env python3
"""Runs every proof, and the tests of docs/pitfalls.md. Writes a record with a figure for each property.

The output of a step goes to target/proof. A step that has ended for this commit is not repeated, so
a run that was interrupted goes on with the next step. The record says "not run" where no output
shows a figure.

    proof.py --record FILE [--only STEP ...] [--again]

Fails if a step fails, or if a figure misses its target.
"""

import argparse
import datetime
import json
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
STATE = ROOT / "target" / "proof"
PITFALLS = ROOT / "docs" / "pitfalls.md"
# The targets of make, the longest ones last.
STEPS = ["slow-clients", "constant-time", "interleavings", "pitfalls", "desync", "chaos", "soak",
         "queue-proof"]
# The steps of tests that `make pitfalls` does not run.
STEP_OF = {"slow_clients.rs": "slow-clients", "tests/constant_time/": "constant-time",
           "tests/interleavings/": "interleavings"}
NOT_RUN = "not run"
# The events of the senders in each chaos test.
EVENTS = 20_000
# The faults after which a gateway must accept deliveries again soon.
RECOVERIES = {
    "memory": ["Crash", "Pause", "Descriptors"],
    "disk": ["Crash", "Pause", "Descriptors", "FullDisk"],
    "Redis": ["Crash", "RedisCrash", "RedisPause"],
    "queue in NATS": ["Crash", "NatsCrash", "NatsPause", "RedisCrash"],
}
SUMMARY = r"Summary \{ accepted: (\d+), unanswered: (\d+), duplicates: (\d+) \}"


class Step:
    """A target of make, with its output and its result for this commit."""

    folder = STATE

    def __init__(self, name, version):
        self.name, self.version = name, version
        self.log, self.state = self.folder / f"{name}.log", self.folder / f"{name}.json"
        self.result = json.loads(self.state.read_text()) if self.state.exists() else {}
        if self.result.get("version") != version:
            self.result = {}

    @property
    def command(self):
        return f"`make {self.name}`"

    @property
    def arguments(self):
        """Returns the program that the step runs, and its arguments."""
        return ["make", self.name]

    @property
    def has_run(self):
        return bool(self.result)

    @property
    def has_passed(self):
        return self.result.get("status") == 0

    @property
    def output(self):
        """Returns the output for this commit."""
        return self.log.read_text(errors="replace") if self.has_run else ""

    def run(self):
        """Runs the step, and keeps its result. Prints where it stands."""
        print(f"{self.name}: running, output in {self.log.relative_to(ROOT)}", flush=True)
        self.state.unlink(missing_ok=True)
        start = time.monotonic()
        with self.log.open("w") as log:
            done = subprocess.run(self.arguments, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        self.result = {"version": self.version, "status": done.returncode,
                       "seconds": round(time.monotonic() - start)}
        self.state.write_text(json.dumps(self.result))
        print(f"{self.name}: {'passed' if self.has_passed else 'failed'} after "
              f"{self.result['seconds']} s", flush=True)


class Record:
    """The rows of the record, and the missed targets."""

    def __init__(self, steps):
        self.steps, self.rows, self.missed, self.not_run = steps, [], [], 0

    def row(self, name, step, figure, target, is_good=True):
        """Adds a row. `figure` is None if the output has none."""
        step = self.steps[step]
        if figure is None:
            figure = "failed" if step.has_run else NOT_RUN
        if step.has_run and not (is_good and step.has_passed and figure != "failed"):
            self.missed.append(name)
        self.not_run += figure == NOT_RUN
        self.rows.append(f"| {name} | {figure} | {target} | {step.command} |")

    def table(self, title, head="property | figure | target | command"):
        """Begins a table."""
        columns = head.count("|") + 1
        self.rows += ["", f"## {title}", "", f"| {head} |", "|" + "---|" * columns]


def figures(output):
    """Returns the figures that a step prints as `figure: NAME = VALUE`."""
    return dict(re.findall(r"^(?:test .* \.\.\. )?figure: (.+?) = (.+)$", output, re.M))


def number(text):
    """Returns the number at the start of a text, or None."""
    found = re.match(r"-?[\d.]+", text or "")
    return float(found[0]) if found else None


def chaos(record):
    """Adds the rows of the chaos tests. The checker of the tests finds lost and changed events."""
    record.table("Chaos")
    found = figures(record.steps["chaos"].output)
    for store in ("memory", "disk", "Redis", "queue in NATS"):
        def get(name):
            return found.get(f"chaos, {store}, {name}")
        accepted, again, allowed = (get(name) for name in (
            "accepted events", "events that arrived again", "allowed by faults"))
        text = accepted and (
            f"{accepted} accepted events, {get('faults')} faults, 0 lost, 0 changed, 0 forged bytes "
            f"at the upstream, {again} arrived again")
        is_good = bool(text) and number(accepted) >= EVENTS and number(again) <= number(allowed)
        record.row(f"{store}: events", "chaos", text,
                   f"{EVENTS} accepted, 0 lost or changed, at most {allowed or 'N'} again (crashes and "
                   "lost responses)", is_good)
        text = accepted and (
            f"{get('retried events')} events retried, {get('replays')} replays with 0 forwarded, "
            f"{get('forged deliveries')} forged, {get('events given up')} given up")
        # The accepted events include thousands of probes, which are never forged, retried or replayed.
        # Forged deliveries without an answer do not count.
        least = {"retried events": 0.28, "replays": 0.09, "forged deliveries": 0.045}
        is_good = bool(text) and all(
            number(get(name)) >= share * EVENTS for name, share in least.items())
        record.row(f"{store}: traffic", "chaos", text, "30 % retried, 10 % replayed, 5 % forged",
                   is_good)
        for fault in RECOVERIES[store]:
            took = get(f"recovery after {fault}")
            record.row(f"{store}: recovery after {fault}", "chaos", took, "2 s",
                       took is not None and number(took) <= 2)


def soak(record):
    """Adds the rows of the soak."""
    record.table("Soak")
    found = figures(record.steps["soak"].output)
    for gateway in ("queue and inspector", "memory store"):
        def get(name):
            return found.get(f"soak, {gateway}, {name}")
        turnovers, slope = get("turnovers"), get("slope of the second half")
        record.row(f"{gateway}: turnovers", "soak",
                   turnovers and f"{turnovers}, {get('events')} events", "10",
                   (number(turnovers) or 0) >= 9.5)
        record.row(f"{gateway}: growth in the second half", "soak", slope, "1 MiB/min",
                   slope is not None and number(slope) <= 1)
    size = found.get("soak, memory store, memory of an event")
    record.row("memory store: memory of an event", "soak", size, "450 B",
               size is not None and number(size) <= 450)


def attacks(record):
    """Adds the rows of the desync matrix and of the slow clients."""
    record.table("Attacks")
    output = record.steps["desync"].output
    origins = re.findall(r"(\w+): (\d+) requests, (\d+) deliveries", output)
    pipes = [int(flagged) for flagged in re.findall(r"behind a pipe: (\d+) flagged", output)]
    text = None
    if origins and pipes:
        text = (f"{len(origins)} origins, {origins[0][1]} requests each, 0 flagged; behind a pipe "
                f"{min(pipes)} to {max(pipes)} flagged")
    record.row("no desync", "desync", text, "0 flagged on 8 origins or more; the pipe is flagged",
               len(origins) >= 8 and len(pipes) == len(origins) and min(pipes, default=0) > 0)
    for name, pattern in (("hostile answers", "hostile answers"),
                          ("hostile HTTP/2 frames", "sequences of hostile frames"),
                          ("hostile answers over HTTP/2", "hostile answers over HTTP/2")):
        found = re.search(rf"(\d+) {pattern}, (\d+) flagged", output)
        text = found and f"{found[1]}, {found[2]} flagged"
        control = re.search(rf"(\d+) {pattern} behind a pipe, (\d+) flagged", output)
        if control:
            text = f"{text}; behind a pipe {control[2]} flagged"
        record.row(name, "desync", text, "0 flagged", bool(found) and found[2] == "0")
    slow = re.findall(r"^(?:test .* \.\.\. )?(.+): (\d+ connections closed after .+)$",
                      record.steps["slow-clients"].output, re.M)
    for mode in ("endless heads", "endless bodies", "unread responses"):
        record.row(f"slow clients, {mode}", "slow-clients", dict(slow).get(mode),
                   "closed 2 s after the deadline; p99 100 ms; 0 failures")


def queue(record):
    """Adds the rows of the queue under outages and crashes."""
    record.table("The queue")
    output = record.steps["queue-proof"].output
    for name, pattern, target in (
            ("an outage and crashes", rf"(\d+) crashes, \d+ forged deliveries, {SUMMARY}",
             "100000 accepted events, 50 crashes, 0 lost"),
            ("lost responses", rf"(\d+) responses lost, {SUMMARY}", "20000 accepted events, 0 lost"),
            ("three gateways and three NATS servers",
             rf"(\d+) crashes, \d+ forged deliveries, at most \d+ duplicates, {SUMMARY}",
             "20000 accepted events, 20 crashes, 0 lost")):
        found = re.search(pattern, output)
        text = found and (f"{found[2]} accepted, 0 lost, {found[1]} crashes or lost responses, "
                          f"{found[4]} duplicates")
        record.row(name, "queue-proof", text, target,
                   bool(found) and int(found[2]) >= int(target.split()[0]))


def passed_tests(steps):
    """Returns the tests of all steps, by name, and whether each of their runs passed."""
    results = {}
    for step in steps.values():
        for name, result in re.findall(r"^test (\S+)(?: - should panic)? \.\.\. (\w+)", step.output,
                                       re.M):
            # A test that prints its figures has its result on another line.
            has_passed = result == "ok" or (result != "FAILED" and step.has_passed)
            results.setdefault(name.rsplit("::", 1)[-1], []).append(has_passed)
    return results


def pitfalls(record):
    """Adds a row for each row of docs/pitfalls.md with tests."""
    results = passed_tests(record.steps)
    title = None
    for line in PITFALLS.read_text().splitlines():
        if line.startswith("## "):
            title = line[3:]
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("| ") or "`" not in cells[-1]:
            continue
        if title:
            record.table(title, "row | tests | target | command")
            title = None
        names = [text.split(": ")[1] for text in re.findall(r"`([^`]+\.rs: \w+)`", cells[-1])]
        run = [name for name in names if name in results]
        passed = sum(all(results[name]) for name in run)
        steps = [step for path, step in STEP_OF.items() if path in cells[-1]]
        step = steps[0] if steps else "pitfalls"
        is_complete = len(run) == len(names)
        text = f"{passed} of {len(names)} passed" if is_complete else None
        record.row(cells[0], step, text, "all", passed == len(names))


def write(path, steps, version):
    """Writes the record. Returns the missed targets."""
    record = Record(steps)
    for part in (chaos, soak, attacks, queue, pitfalls):
        part(record)
    sys.path.insert(0, str(HERE / "compare"))
    from measure import machine
    seconds = sum(step.result.get("seconds", 0) for step in steps.values())
    times = ", ".join(f"{step.name} {step.result['seconds']} s" if step.has_run
                      else f"{step.name} {NOT_RUN}" for step in steps.values())
    missed = "; ".join(record.missed) or "none"
    path.write_text("\n".join([
        f"# Proof, {datetime.date.today().isoformat()}", "",
        f"`make proof` on {machine()}, commit {version}: {seconds // 60} minutes.", "",
        f"Steps: {times}.", "",
        f"Missed targets: {missed}. Rows that were not run: {record.not_run}.",
        *record.rows]) + "\n")
    return record.missed


def current_version():
    """Returns the commit, and whether files beside the records differ from it."""
    def git(*arguments):
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()
    changed = git("status", "--porcelain", "--", ".", ":!benches/records")
    return git("rev-parse", "--short=9", "HEAD") + (" with changes" if changed else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", type=pathlib.Path, required=True, help="Markdown file to write")
    parser.add_argument("--only", nargs="*", choices=STEPS, default=STEPS, metavar="STEP")
    parser.add_argument("--again", action="store_true", help="repeat steps that have ended")
    options = parser.parse_args()
    STATE.mkdir(parents=True, exist_ok=True)
    version = current_version()
    steps = {name: Step(name, version) for name in STEPS}
    for name in options.only:
        if options.again or not steps[name].has_run:
            steps[name].run()
            write(options.record, steps, version)
    missed = write(options.record, steps, version)
    print(f"{options.record}: missed targets: {'; '.join(missed) or 'none'}")
    return int(bool(missed) or any(not step.has_passed for step in steps.values()
                                   if step.name in options.only))


if __name__ == "__main__":
    sys.exit(main())
