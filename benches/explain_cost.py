#!/usr/bin/env python3
"""Measures the time and the memory of `hookgate verify --explain` on large and hostile captures.

    explain_cost.py HOOKGATE [--markdown]

Prints one row for each capture. Fails if one takes more than 5 s or 300 MB, if the program
crashes, or if it names a wrong cause where the cause is known. Needs a release build.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import tempfile
import time
import unicodedata
import zlib
from pathlib import Path

MAX_SECONDS = 5
MAX_MEGABYTES = 300
SECRET = "whsec_5f0c8a6de2b94a13"
AT = 1784187600
KIB, MIB = 1024, 1024 * 1024


def sign(body):
    mac = hmac.new(SECRET.encode(), f"{AT}.".encode() + body, hashlib.sha256)
    return mac.hexdigest()


def document(size, member):
    """Returns the members of a JSON document of about `size` bytes."""
    count = max(1, size // (len(json.dumps(member, ensure_ascii=False)) + 1))
    return {"id": "evt_1", "event": "task.succeeded", "data": [member] * count}


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def captures():
    """Yields a name, the signed body, the received body, and the codes that are right."""
    member = {"name": "Zoë <z@example.com>", "path": "/a/b", "total": 12.5, "n": None}
    for size, label in ((KIB, "1 KiB"), (MIB, "1 MiB"), (14 * MIB, "16 MiB")):
        value = document(size, member)
        sent = compact(value)
        spaced = json.dumps(value, ensure_ascii=False).encode()
        # The work of one diagnosis allows only a few candidates of 16 MiB.
        rewritten = ["body_json_rewritten"] if size <= MIB else None
        yield f"{label}, JSON with blanks", sent, spaced, rewritten
        yield f"{label}, line feed added", sent, sent + b"\n", ["body_text_edited"]
        yield f"{label}, another secret", None, sent, ["secret_other"]
    big = 16 * MIB
    yield "16 MiB of nested arrays", None, b"[" * (big // 2) + b"]" * (big // 2), None
    yield "arrays of depth 10 000", None, b"[" * 10_000 + b"]" * 10_000, None
    yield "objects of depth 1 000 000", None, b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000, None
    members = {f"key{number}": number for number in range(100_000)}
    yield "100 000 members", None, compact(members), None
    yield "16 MiB of small numbers", None, b"[" + b"0," * (big // 2 - 2) + b"0]", None
    yield "16 MiB of escapes", None, b'"' + b"\\u00e9" * (big // 6 - 1) + b'"', None
    yield "16 MiB of quotes", None, b'"' * big, None
    yield "16 MiB of backslashes", None, b"\\" * big, None
    yield "16 MiB of percent signs", None, b"%25" * (big // 3), None
    yield "16 MiB of form fields", None, b"a=1&" * (big // 4), None
    yield "16 MiB of entities", None, b"&amp;" * (big // 5), None
    yield "16 MiB of line ends", None, b"\r\n" * (big // 2), None
    yield "16 MiB of base64", None, base64.b64encode(os.urandom(big * 3 // 4 - 3)), None
    yield "16 MiB of random bytes", None, os.urandom(big), None
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(b"0" * MIB) for _ in range(1024)) + packer.flush()
    yield "gzip that expands to 1 GiB", None, bomb, None
    text = unicodedata.normalize("NFD", "ệ" * 8) + "a" + "\u0301" * 500
    yield "16 MiB of combining characters", None, (text * (big // len(text.encode()))).encode(), None


def write(folder):
    """Writes each capture into a folder of its own in `folder`, and a list of them."""
    listed = []
    for number, (name, signed, body, expected) in enumerate(captures()):
        capture = folder / str(number)
        capture.mkdir()
        write_capture(capture, signed, body)
        listed.append([name, str(capture), expected])
    (folder / "list").write_text(json.dumps(listed))


def write_capture(folder, signed, body):
    signature = sign(signed) if signed is not None else "0" * 64
    headers = [
        "Content-Type: application/json",
        f"X-BeatAPI-Timestamp: {AT}",
        f"X-BeatAPI-Signature: {signature}",
    ]
    (folder / "headers").write_text("\n".join(headers) + "\n")
    (folder / "body").write_bytes(body)


def measure(hookgate, folder):
    """Runs the program. Returns its output, the seconds, and the peak memory in megabytes."""
    command = [hookgate, "verify", "--explain", "--json", "--provider", "beatapi"]
    command += ["--secret", "env:SECRET", "--at", str(AT)]
    command += ["--headers", str(folder / "headers"), "--body", str(folder / "body")]
    start = time.monotonic()
    with open(folder / "output", "wb") as output:
        child = subprocess.Popen(command, stdout=output, env={"SECRET": SECRET})
        _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, (folder / "output").read_bytes(), seconds, usage.ru_maxrss / 1024


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("hookgate")
    options.add_argument("--markdown", action="store_true")
    options.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.write:
        return write(Path(options.hookgate))
    with tempfile.TemporaryDirectory() as folder:
        # The peak memory of a program includes the memory of the process that starts it, so
        # another process makes the captures.
        subprocess.run([sys.executable, __file__, "--write", folder], check=True)
        listed = json.loads(Path(folder, "list").read_text())
        report(options, listed)


def report(options, listed):
    """Measures each capture and prints its row. Ends the program."""
    faults = []
    row = "| {} | {} | {} | {} |" if options.markdown else "{:32} {:>7} {:>7}  {}"
    print(row.format("capture", "seconds", "MB", "first cause"))
    if options.markdown:
        print("|---|---|---|---|")
    for name, folder, expected in listed:
        status, output, seconds, megabytes = measure(options.hookgate, Path(folder))
        first = "none"
        if status == 1:
            first = json.loads(output)["causes"][0]["code"]
        else:
            faults.append(f"{name}: exit status {status}")
        if expected and first not in expected:
            faults.append(f"{name}: {first} in place of {' or '.join(expected)}")
        if seconds > MAX_SECONDS:
            faults.append(f"{name}: {seconds:.1f} s")
        if megabytes > MAX_MEGABYTES:
            faults.append(f"{name}: {megabytes:.0f} MB")
        print(row.format(name, f"{seconds:.2f}", f"{megabytes:.0f}", first), flush=True)
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(bool(faults))


main()
