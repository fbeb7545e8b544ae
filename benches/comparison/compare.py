#!/usr/bin/env python3
"""Compares receivers of the same webhooks, with hookgate and with other crates.

    compare.py [--record FILE] [--rounds N] [--no-builds]

Counts the lines of set-up, the types that a user names, and the crates. Attacks every program, and
measures clean debug builds of the program and of its library alone, in rounds that alternate. The
times need an idle machine; --no-builds leaves them out.

A line of set-up is a line that baseline.rs, the same receiver without verification, does not have.
Imports do not count. A type counts if the program imports it and baseline.rs does not.
"""

import argparse
import base64
import collections
import hashlib
import hmac
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib

FOLDER = pathlib.Path(__file__).resolve().parent
CARGO = os.environ.get("CARGO", "cargo")
# The name of each program, and what its crate verifies.
PROGRAMS = {
    "hookgate": "stripe",
    "webhook-verify": "stripe",
    "async-stripe": "stripe",
    "svix": "standard",
    "axum-standardwebhooks": "standard",
}
REFERENCE = "axum-standardwebhooks"
# The prefix of a package with the library of a program alone.
LIBRARY = "library of "
KEY = base64.b64encode(b"a key of a comparison").decode()
SECRETS = {"stripe": "whsec_" + KEY, "standard": "whsec_" + KEY}
OTHER_SECRET = "whsec_" + base64.b64encode(b"another key").decode()
EMPTY_SECRETS = {"stripe": "", "standard": "whsec_"}
TIMEOUT = 5


def event(kind="test.succeeds", name="evt_1"):
    """Returns an event with every field that async-stripe demands."""
    return json.dumps({
        "id": name, "object": "event", "api_version": "2025-01-01", "created": 1700000000,
        "livemode": False, "pending_webhooks": 1, "type": kind,
        "data": {"object": {"id": "x_1", "object": "test"}},
    }).encode()


def mac(scheme, secret, text):
    key = secret.encode()
    if scheme == "standard":
        key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, text, hashlib.sha256).digest()
    return digest.hex() if scheme == "stripe" else base64.b64encode(digest).decode()


def signed(scheme, body, secret=None, age=0, timestamp=None, extra=()):
    """Returns the headers of a delivery. `extra` are signatures beside the genuine one."""
    secret = SECRETS[scheme] if secret is None else secret
    timestamp = str(int(time.time()) - age) if timestamp is None else timestamp
    if scheme == "stripe":
        signature = mac(scheme, secret, timestamp.encode() + b"." + body)
        values = [f"v1={value}" for value in [signature, *extra]]
        return [("Stripe-Signature", ",".join([f"t={timestamp}", *values]))]
    signature = mac(scheme, secret, b"msg_1." + timestamp.encode() + b"." + body)
    values = " ".join(f"v1,{value}" for value in [signature, *extra])
    return [("webhook-id", "msg_1"), ("webhook-timestamp", timestamp), ("webhook-signature", values)]


class Program:
    """A running program."""

    def __init__(self, binary, scheme, secret=None):
        self.scheme = scheme
        self.stderr = tempfile.TemporaryFile()
        environment = {**os.environ, "SECRET": SECRETS[scheme] if secret is None else secret}
        self.process = subprocess.Popen(
            [binary], env=environment, stdout=subprocess.PIPE, stderr=self.stderr, text=True
        )
        line = self.process.stdout.readline()
        self.address = line.strip().removeprefix("listening on ").rsplit(":", 1) if line else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.stderr.close()

    def request(self, headers, body, method="POST", path="/hooks", length=None, wait=TIMEOUT):
        """Returns the status and the body of the response; None without a response."""
        length = len(body) if length is None else length
        fields = [("Host", "a"), ("Connection", "close"), ("Content-Type", "application/json"),
                  ("Content-Length", str(length)), *headers]
        head = f"{method} {path} HTTP/1.1\r\n".encode()
        for name, value in fields:
            value = value if isinstance(value, bytes) else value.encode()
            head += name.encode() + b": " + value + b"\r\n"
        with socket.create_connection((self.address[0], int(self.address[1])), timeout=wait) as sock:
            response = b""
            try:
                sock.sendall(head + b"\r\n" + body)
                if length > len(body) and wait == TIMEOUT:
                    sock.shutdown(socket.SHUT_WR)
                while chunk := sock.recv(65536):
                    response += chunk
                    if b"\r\n\r\n" in response and wait != TIMEOUT:
                        break
            except (TimeoutError, ConnectionError):
                pass
        if not response:
            return None, b""
        return int(response.split(b" ", 2)[1]), response.partition(b"\r\n\r\n")[2]

    def send(self, body, **options):
        return self.request(signed(self.scheme, body, **options), body)[0]

    def calls(self):
        return int(self.request([], b"", method="GET", path="/calls")[1])

    def panicked(self):
        self.stderr.seek(0)
        return b"panicked" in self.stderr.read()


def is_success(status):
    return status is not None and 200 <= status < 300


def refused(program, statuses):
    """Judges requests that must be refused."""
    if program.panicked():
        return "**panics**"
    if program.calls() > 0 or any(is_success(status) for status in statuses):
        return "**accepted**"
    return "refused" if None not in statuses else "**no response**"


def forged(program):
    body = event()
    altered = program.request(signed(program.scheme, body), event(name="evt_9"))[0]
    return refused(program, [program.send(body, secret=OTHER_SECRET), altered])


def stale(program):
    return refused(program, [program.send(event(), age=age) for age in (302, 86400, -330, -86400)])


def malformed(program):
    """Headers that are missing, repeated, cut, or that no signature library should parse."""
    body = event()
    good = signed(program.scheme, body)
    *others, (name, value) = good
    variants = [[], [*others, (name, "")], [*others, (name, b"\xff\xfe")],
                [*others, (name, value[:-2])], [*others, (name, value + "00")],
                [*others, (name, "v1,"), (name, "v1=")], [*others, (name, value.replace("v1", "v2"))]]
    for timestamp in ("-9223372036854775808", "9223372036854775807", "99999999999999999999",
                      "", "+1", "1e9", "NaN"):
        # An attacker cannot sign these, but the verifier may parse them first.
        variants.append(signed(program.scheme, body, secret=OTHER_SECRET, timestamp=timestamp))
    return refused(program, [program.request(headers, body)[0] for headers in variants])


def broken_body(program):
    """A body that ends early, and an unsigned body of 3 MB."""
    body = event()
    program.request(signed(program.scheme, body), body[:10], length=len(body))
    large = program.request([], b"x" * 3_000_000)[0]
    # axum may close the connection before it has read the body.
    return refused(program, [large if large is not None else 413])


def early(program):
    """An unsigned head whose body does not come: is it refused at once?"""
    status = program.request([], b"x", length=1000, wait=2)[0]
    return "refused by its head" if status else "waits for the body"


def empty_secret(binary, scheme):
    with Program(binary, scheme, EMPTY_SECRETS[scheme]) as program:
        if program.address is None:
            return "does not start"
        status = program.send(event(), secret=EMPTY_SECRETS[scheme])
        return "**a forged delivery is accepted**" if is_success(status) else "starts, refuses all"


def replayed(program):
    body = event()
    headers = signed(program.scheme, body)
    statuses = [program.request(headers, body)[0] for _ in range(2)]
    again = program.send(body, age=1)
    assert all(map(is_success, [*statuses, again])), statuses
    return "handled once" if program.calls() == 1 else "**handled again**"


def retried(program):
    first, second = program.send(event("test.fails_once")), program.send(event("test.fails_once"))
    assert first == 500, first
    return "handled" if second == 204 and program.calls() == 2 else "**lost**"


def in_flight(program):
    """A duplicate that arrives while the handler runs, which then fails."""
    body = event("test.fails_late")
    statuses = []
    first = threading.Thread(target=lambda: statuses.append(program.send(body)))
    first.start()
    while program.calls() == 0:
        time.sleep(0.01)
    second = program.send(body)
    first.join()
    assert statuses == [500], statuses
    return "**acknowledged, though it fails**" if is_success(second) else "not acknowledged"


def rotated(program):
    """Signatures of two secrets in one delivery, as the provider sends them after a rotation."""
    zeros = mac(program.scheme, SECRETS[program.scheme], b"")
    body = event()
    ok = is_success(program.send(body, extra=[zeros]))
    return "accepted" if ok else "**genuine delivery refused**"


CASES = {
    "a forged or altered delivery": forged,
    "a stale delivery, or one from the future": stale,
    "missing, repeated and malformed headers": malformed,
    "a body that ends early, an unsigned one of 3 MB": broken_body,
    "an unsigned head whose body does not come": early,
    "the empty secret": empty_secret,
    "the same event again": replayed,
    "the retry of an event whose handler failed": retried,
    "a duplicate while the handler runs, which fails": in_flight,
    "signatures of the new and of the old secret": rotated,
}


def source(name):
    """Returns the lines of a program that count, and the types that it imports."""
    text = (FOLDER / "src" / f"{name.replace('-', '_')}.rs").read_text()
    imports = "".join(re.findall(r"^use [^;]*;", text, re.MULTILINE))
    text = re.sub(r"^(use [^;]*;|mod common;)", "", text, flags=re.MULTILINE)
    # The baseline does not use the parameter.
    lines = [line.strip().replace("_secret", "secret") for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("//")]
    return lines, set(re.findall(r"\b[A-Z]\w+", imports))


def set_up(name):
    """Returns the lines of set-up, and the types that the user names for them."""
    (base, base_types), (lines, types) = source("baseline"), source(name)
    added = collections.Counter(lines) - collections.Counter(base)
    return added.total(), sorted(types - base_types)


def program(name):
    """Returns the folder of a program, and the options of cargo that select it."""
    return FOLDER, ["--features", name]


def library(name, folder):
    """Writes a package that depends on the library of a program alone. hookgate has its default
    features, and the others have the features that their programs need. Returns the folder of the
    package, and the options of cargo that select it."""
    manifest = tomllib.loads((FOLDER / "Cargo.toml").read_text())
    crate = manifest["features"][name][-1].removeprefix("dep:")
    dependency = manifest["dependencies"][crate]
    folder = folder / name
    (folder / "src").mkdir(parents=True)
    (folder / "src/lib.rs").touch()
    details = {"version": dependency.get("version", "*")}
    if name == "hookgate":
        details["path"] = str(FOLDER / dependency["path"])
    elif "features" in dependency:
        details["features"] = dependency["features"]
    details = ", ".join(f"{key} = {json.dumps(value)}" for key, value in details.items())
    (folder / "Cargo.toml").write_text(
        f'[package]\nname = "alone"\nedition = "2024"\n[workspace]\n'
        f"[dependencies]\n{crate} = {{ {details} }}\n"
    )
    # The versions are those of the programs.
    shutil.copy(FOLDER / "Cargo.lock", folder)
    subprocess.run([CARGO, "update", "--quiet", "--workspace"], cwd=folder, check=True)
    return folder, []


def crates(package):
    """Returns the number of crates that a package is built from, without itself."""
    folder, options = package
    tree = command_output(CARGO, "tree", "--locked", *options, "--edges", "normal,build", "--prefix",
                          "none", "--format", "{p}", folder=folder)
    return len({line.removesuffix(" (*)") for line in tree.splitlines() if line.strip()}) - 1


def build(package, target):
    """Builds a package. Returns the time and the processor time in seconds."""
    folder, options = package
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(
        [CARGO, "build", "--locked", "--quiet", *options, "--target-dir", target],
        cwd=folder, check=True,
        # Cargo builds a crate of this repository incrementally, which takes longer, but a crate from
        # a registry not.
        env={**os.environ, "CARGO_INCREMENTAL": "0"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - start, used


def clean_builds(packages, rounds):
    """Returns the medians of clean builds, by the name of the package."""
    times = {name: [] for name in packages}
    subprocess.run([CARGO, "fetch", "--locked"], cwd=FOLDER, check=True)
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "target"
        for number in range(rounds):
            for name, results in times.items():
                shutil.rmtree(target, ignore_errors=True)
                results.append(build(packages[name], target))
                print(f"round {number + 1}: {name}: {results[-1][0]:.1f} s", file=sys.stderr)
    return {name: [statistics.median(part) for part in zip(*results)]
            for name, results in times.items()}


def table(rows):
    header, *rest = rows
    lines = [header, ["---"] * len(header), *rest]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def judge(name, binary):
    """Returns the verdicts about a program, by case."""
    scheme = PROGRAMS[name]
    verdicts = {}
    for case, check in CASES.items():
        if check is empty_secret:
            verdicts[case] = check(binary, scheme)
            continue
        with Program(binary, scheme) as program:
            assert program.address, f"{name} does not start"
            verdicts[case] = check(program)
        print(f"{name}: {case}: {verdicts[case]}", file=sys.stderr)
    return verdicts


def command_output(*command, folder=FOLDER):
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout


def ratios(title, values, reference, unit=""):
    """Returns two rows of a table: the values of the programs, and their ratios to the reference."""
    return [[title, *(f"{value:.1f}{unit}" for value in values)],
            [f"ratio to {REFERENCE}", *(f"{value / reference:.2f}" for value in values)]]


def summary(figures, counts, times):
    """Returns the rows of the set-up, the crates and the builds."""
    rows = [["", *PROGRAMS],
            ["lines of set-up", *(figures[name][0] for name in PROGRAMS)],
            ["types", *(len(figures[name][1]) for name in PROGRAMS)]]
    for title, prefix in (("the program", ""), ("the library alone", LIBRARY)):
        rows.append([f"{title}: crates", *(counts[prefix + name] for name in PROGRAMS)])
        for part, measured in enumerate(("clean debug build", "processor time of the build")) if times else ():
            values = [times[prefix + name][part] for name in PROGRAMS]
            rows += ratios(f"{title}: {measured}", values, times[prefix + REFERENCE][part], " s")
    return rows


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--record", type=pathlib.Path)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--no-builds", action="store_true")
    options = arguments.parse_args()

    figures = {name: set_up(name) for name in PROGRAMS}
    lines = figures["hookgate"][0]
    assert lines <= 5, f"hookgate needs {lines} lines of set-up"
    with tempfile.TemporaryDirectory() as folder:
        packages = {name: program(name) for name in ["baseline", *PROGRAMS]}
        packages |= {LIBRARY + name: library(name, pathlib.Path(folder)) for name in PROGRAMS}
        counts = {name: crates(package) for name, package in packages.items()}
        times = {} if options.no_builds else clean_builds(packages, options.rounds)

    target = FOLDER / "target"
    verdicts = {}
    for name in PROGRAMS:
        build(packages[name], target)
        verdicts[name] = judge(name, target / "debug" / name)
    faults = [case for case, verdict in verdicts["hookgate"].items() if "**" in verdict]
    assert not faults, faults

    behaviour = [["the delivery", *PROGRAMS]]
    behaviour += [[case, *(verdicts[name][case] for name in PROGRAMS)] for case in CASES]
    report = [
        f"# The same receiver in five ways, {time.strftime('%F')}",
        f"`make bench-layer-build` with {command_output('rustc', '--version').strip()}, "
        f"{os.cpu_count()} cores, commit {command_output('git', 'rev-parse', '--short', 'HEAD').strip()}"
        + (f". Rounds of clean builds: {options.rounds}; the times are their medians." if times
           else ", without builds."),
        table(summary(figures, counts, times)),
        f"The baseline, without verification, has {counts['baseline']} crates"
        + (f" and takes {times['baseline'][0]:.1f} s." if times else "."),
        "Types: " + "; ".join(f"{name}: {', '.join(figures[name][1])}" for name in PROGRAMS) + ".",
        table(behaviour),
    ]
    report = "\n\n".join(report) + "\n"
    print(report)
    if options.record:
        options.record.write_text(report)


if __name__ == "__main__":
    main()
