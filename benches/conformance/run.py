#!/usr/bin/env python3
"""Runs `hookgate conform` against hookgate and against receivers with other libraries.

    run.py --hookgate BINARY --installed FOLDER [--record FILE] [--only 'NAME (PROVIDER)' ...]

`make conformance` installs the libraries to FOLDER. Every receiver runs the same application, which
counts its runs. Fails if hookgate fails in a row, if the matrix does not tell the controls apart, or if
a receiver refuses a genuine delivery: its other rows would then prove nothing.
"""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import peers
import record

HERE = pathlib.Path(__file__).resolve().parent
SECRET = "whsec_Y29uZm9ybWFuY2Uta2l0LXNlY3JldC0wMTIzNDU2Nzg="
# A secret of Standard Webhooks is base64 after its prefix.
EMPTY = {peers.STANDARD: "whsec_", peers.STRIPE: "", peers.GITHUB: ""}
PLACEHOLDER = "${WEBHOOK_SECRET}"
# Libraries read the name of the event here. No signature covers it.
HEADERS = {peers.GITHUB: ["--header", "x-github-event:push"]}

# A window, and a margin for the tests before. The pause is between two probes of the age.
AGE_SECONDS = 330
PAUSE_SECONDS = 5


class Failure(Exception):
    """A receiver that cannot be tested."""


def title(peer):
    return f"{peer.name} ({peer.provider})"


def conform(hookgate, peer, running, *options):
    """Returns the rows of the matrix."""
    command = [hookgate, "conform", "--json", "--provider", peer.provider, "--secret", "env:SECRET",
               "--to", running.to, "--runs", running.runs, *HEADERS.get(peer.provider, []), *options]
    done = subprocess.run(command, env={**os.environ, "SECRET": SECRET}, capture_output=True, text=True)
    report = json.loads(done.stdout or "{}")
    if "rows" not in report:
        raise Failure(report.get("error") or done.stderr)
    return report["rows"]


def start(peer, stack):
    """Starts a receiver, which runs until the stack is closed."""
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    running = stack.enter_context(peer.start(SECRET, folder))
    if running is None:
        raise Failure("the receiver does not start:\n" + (folder / "log").read_text())
    return running


def wait_until_old(hookgate, peer, running):
    """Waits until a receiver accepts a delivery that is almost as old as the window."""
    deadline = time.monotonic() + AGE_SECONDS
    while True:
        [row] = conform(hookgate, peer, running, "--only", "old-inside")
        if row["verdict"] == "pass":
            return
        if time.monotonic() > deadline:
            raise Failure(f"it refuses old-inside for longer than {AGE_SECONDS} s")
        time.sleep(PAUSE_SECONDS)


def judge_all(hookgate, tested):
    """Returns the rows of each receiver by their name, the results of its secrets, and the faults.

    A process that is tested twice is tested first and last, so that it grows old meanwhile.
    """
    twice = {peer.earlier for peer in tested if peer.earlier}
    ordered = sorted(tested, key=lambda peer: (peer.earlier is not None, peer not in twice))
    verdicts, secrets, faults, running = {}, {}, [], {}
    with contextlib.ExitStack() as until_the_end:
        for peer in ordered:
            print(title(peer), file=sys.stderr, flush=True)
            try:
                with contextlib.ExitStack() as until_judged:
                    if peer.earlier is None:
                        stack = until_the_end if peer in twice else until_judged
                        running[peer] = start(peer, stack)
                    elif peer.earlier not in running:
                        raise Failure("its process does not run")
                    else:
                        running[peer] = running[peer.earlier]
                        wait_until_old(hookgate, peer, running[peer])
                    rows = conform(hookgate, peer, running[peer])
                verdicts[peer] = {row["row"]: row for row in rows}
                found = fault(peer, verdicts[peer])
                faults += [f"{title(peer)}: {found}"] if found else []
                if peer.has_secret and peer.earlier is None:
                    secrets[peer] = judge_secrets(hookgate, peer)
            except (Failure, OSError) as error:
                faults.append(f"{title(peer)}: {error}")
    return in_order(tested, verdicts), in_order(tested, secrets), faults


def in_order(tested, results):
    """Returns the results in the order of the matrix."""
    return {peer: results[peer] for peer in tested if peer in results}


def judge_secrets(hookgate, peer):
    """Describes the receiver with each unusable secret."""
    return [judge_secret(hookgate, peer, EMPTY[peer.provider], "empty-secret"),
            judge_secret(hookgate, peer, PLACEHOLDER, "placeholder-secret")]


def judge_secret(hookgate, peer, secret, row):
    """Describes a receiver that is started with an unusable secret."""
    with tempfile.TemporaryDirectory() as folder, \
            peer.start(secret, pathlib.Path(folder)) as running:
        if running is None:
            return "does not start"
        [result] = conform(hookgate, peer, running, "--only", row)
        accepted = any(status and status < 300 for status in result["answered"])
        return "**accepts a forgery**" if accepted else "starts, and refuses it"


def fault(peer, rows):
    """Returns why the rows of a receiver are no proof. None if they are."""
    failed = {name for name, row in rows.items() if row["verdict"] not in ("pass", "n/a")}
    if peer.must_fail is None:
        return "it refuses a genuine delivery: row good" if "good" in failed else None
    expected = {name for name, row in rows.items()
                if row["verdict"] != "n/a" and peer.must_fail(row)}
    if failed == expected:
        return None
    return (f"it fails in {sorted(failed - expected)} and must not, and must fail in "
            f"{sorted(expected - failed)} and does not")


def commit():
    done = subprocess.run(["git", "describe", "--always", "--dirty", "--exclude=*"], cwd=HERE,
                          text=True, capture_output=True, check=True)
    return done.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hookgate", type=pathlib.Path, required=True)
    parser.add_argument("--installed", type=pathlib.Path, required=True)
    parser.add_argument("--record", type=pathlib.Path)
    parser.add_argument("--only", action="append", metavar="'NAME (PROVIDER)'")
    options = parser.parse_args()
    hookgate = options.hookgate.resolve()

    tested = peers.all_peers(hookgate, options.installed.resolve())
    if options.only:
        chosen = [peer for peer in tested if title(peer) in options.only]
        tested = [peer for peer in tested if peer in chosen or peer in [one.earlier for one in chosen]]
    verdicts, secrets, faults = judge_all(hookgate, tested)
    if not verdicts:
        faults.append("no receiver was tested")
    if faults:
        sys.exit("\n".join(faults))
    text = record.text(commit(), verdicts, secrets)
    print(text)
    if options.record:
        options.record.write_text(text)


if __name__ == "__main__":
    main()
