#!/usr/bin/env python3
"""Runs `hookgate conform` against hookgate and against receivers with other libraries.

    run.py --hookgate BINARY --installed FOLDER [--record FILE] [--only 'NAME (PROVIDER)' ...]

`make conformance` installs the libraries to FOLDER. Every receiver runs the same application, which
counts its runs. Fails if hookgate fails in a row, if the matrix does not tell the controls apart, or if
a receiver refuses a genuine delivery: its other rows would then prove nothing.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import peers
import record

HERE = pathlib.Path(__file__).resolve().parent
SECRET = "whsec_Y29uZm9ybWFuY2Uta2l0LXNlY3JldC0wMTIzNDU2Nzg="
# A secret of Standard Webhooks is base64 after its prefix.
EMPTY = {peers.STANDARD: "whsec_", peers.STRIPE: "", peers.GITHUB: ""}
PLACEHOLDER = "${WEBHOOK_SECRET}"
# Libraries read the name of the event here. No signature covers it.
HEADERS = {peers.GITHUB: ["--header", "x-github-event:push"]}


class Failure(Exception):
    """A receiver that cannot be tested."""


def conform(hookgate, peer, running, *options):
    """Returns the rows of the matrix."""
    command = [hookgate, "conform", "--json", "--provider", peer.provider, "--secret", "env:SECRET",
               "--to", running.to, "--runs", running.runs, *HEADERS.get(peer.provider, []), *options]
    done = subprocess.run(command, env={**os.environ, "SECRET": SECRET}, capture_output=True, text=True)
    report = json.loads(done.stdout or "{}")
    if "rows" not in report:
        raise Failure(report.get("error") or done.stderr)
    return report["rows"]


def judge(hookgate, peer):
    """Returns the rows of a receiver, by their name."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with peer.start(SECRET, folder) as running:
            if running is None:
                raise Failure("the receiver does not start:\n" + (folder / "log").read_text())
            return {row["row"]: row for row in conform(hookgate, peer, running)}


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

    verdicts, secrets, faults = {}, {}, []
    for peer in peers.all_peers(hookgate, options.installed.resolve()):
        title = f"{peer.name} ({peer.provider})"
        if options.only and title not in options.only:
            continue
        print(title, file=sys.stderr, flush=True)
        try:
            verdicts[peer] = judge(hookgate, peer)
            found = fault(peer, verdicts[peer])
            faults += [f"{title}: {found}"] if found else []
            if peer.has_secret:
                secrets[peer] = [
                    judge_secret(hookgate, peer, EMPTY[peer.provider], "empty-secret"),
                    judge_secret(hookgate, peer, PLACEHOLDER, "placeholder-secret"),
                ]
        except (Failure, OSError) as error:
            faults.append(f"{title}: {error}")
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
