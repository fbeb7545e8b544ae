#!/usr/bin/env python3
"""Runs the tests against the mutants of the parts that decide about a delivery.

    run.py [--record FILE] [--no-run] [--jobs N] [--only TEXT] [AREA ...]

cargo-mutants lists the mutants. One build contains all of them, each behind a switch, so that a mutant
costs the run of its tests and no build. Only tests that reach the code of a mutant run against it.

A run that is stopped continues later: target/mutants has the outcomes. A caught mutant is not run
again until its file changes. --only selects mutants by a part of their names, such as the path of a
file, for a short session. --no-run only writes the record of the outcomes so far. The record keeps
the results of areas that a run leaves out.
"""

import argparse
import concurrent.futures
import pathlib
import sys
import tomllib

import build
import mutants
import record
import suites

HERE = pathlib.Path(__file__).resolve().parent


def prepare(areas, listed, outcomes):
    """Builds the mutants, and returns the tests of each area."""
    every = [mutant for group in listed.values() for mutant in group]
    for number, mutant in enumerate(every):
        mutant.number = number
        mutant.outcome = outcomes.before_tests(mutant)
    executables = build.build(areas, every)
    for mutant in every:
        if mutant.outcome:
            outcomes.add(mutant, mutant.outcome)
    return {area["name"]: suites.Suite(area, executables) for area in areas}


def run(area, group, suite, outcomes, jobs):
    """Runs the tests against each mutant without an outcome that still holds."""
    pending = [mutant for mutant in group if mutant.outcome is None and not outcomes.holds(mutant)]
    if not pending:
        return
    print(f"{area}: {len(pending)} of {len(group)} mutants", flush=True)
    suite.observe(jobs)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        runs = {pool.submit(suite.outcome, mutant.number): mutant for mutant in pending}
        for done in concurrent.futures.as_completed(runs):
            outcomes.add(runs[done], done.result())
            if done.result() == "missed":
                print(f"missed: {runs[done]}", flush=True)


def problems(results, reasons):
    """Returns a message for each survivor without a reason, and for each reason without a survivor."""
    missed = {mutant.key for mutant, outcome in results if outcome == "missed"}
    listed = {mutant.key for mutant, _ in results}
    for name, line in sorted(missed - reasons.keys()):
        yield f"no test notices this mutant, and areas.toml has no reason for it: {name}: {line}"
    for name, line in sorted(listed & reasons.keys() - missed):
        yield f"a test notices this mutant, so remove its reason from areas.toml: {name}: {line}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("areas", nargs="*", help="the areas to run; all by default")
    parser.add_argument("--jobs", type=int, default=2, help="the number of mutants that run at once")
    parser.add_argument("--record", type=pathlib.Path, help="write the record to this file")
    parser.add_argument("--only", default="", help="run only the mutants whose names contain this text")
    parser.add_argument("--no-run", action="store_true", help="run no test; only write the record")
    options = parser.parse_args()
    configured = tomllib.loads((HERE / "areas.toml").read_text())
    names = [area["name"] for area in configured["area"]]
    if wrong := [name for name in options.areas if name not in names]:
        sys.exit(f"areas.toml has no area {', '.join(wrong)}; it has {', '.join(names)}")
    areas = [area for area in configured["area"] if not options.areas or area["name"] in options.areas]
    reasons = {(known["mutant"], known["line"]): known["reason"] for known in configured.get("survivor", [])}
    outcomes = mutants.Outcomes(build.STATE / "outcomes.jsonl")
    listed = {area["name"]: mutants.listed(area, configured["skip"]) for area in areas}
    found = {} if options.no_run else prepare(areas, listed, outcomes)
    messages = []
    for area in areas:
        name = area["name"]
        if not options.no_run:
            selected = [mutant for mutant in listed[name] if options.only in mutant.name]
            run(name, selected, found[name], outcomes, options.jobs)
        results = [(mutant, outcomes.of(mutant)) for mutant in listed[name]]
        if options.record:
            record.write(options.record, names, name, results, reasons)
        messages += problems(results, reasons)
    if messages:
        sys.exit("\n".join(messages))


if __name__ == "__main__":
    main()
