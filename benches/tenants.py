#!/usr/bin/env python3
"""Measures what a tenant costs a delivery, with many tenants that all have been used.

The figure is the CPU time of the gateway for each delivery. Deliveries to tenants in random order
alternate with deliveries to a source without tenants, in rounds of one run. Then files of tenants are
added, changed and removed, and each change is timed until a delivery shows that it counts.

    tenants.py GATEWAY [--tenants N] [--deliveries N] [--rounds N] [--smoke]

Fails if a delivery to a tenant costs more than 5 us more, or if a change takes more than 2 s. With
--smoke, no time is asserted.
"""

import argparse
import base64
import hashlib
import hmac
import http.client
import http.server
import os
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

MAX_DIFFERENCE = 5.0
MAX_CHANGE_SECONDS = 2.0
CHANGES = 20
BODY = b'{"type":"bench","data":"' + b"x" * 1000 + b'"}'
START_TIMEOUT = 30


class Upstream(http.server.BaseHTTPRequestHandler):
    """Responds 200 to every request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):  # noqa: N802
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def key(number):
    """Returns the key of a tenant."""
    return hashlib.sha256(b"tenant %d" % number).digest()


def secret(number):
    return "whsec_" + base64.b64encode(key(number)).decode()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Gateway:
    """A gateway with a source with tenants, and a source without."""

    def __init__(self, binary, folder, upstream):
        self.port, self.sent = free_port(), 0
        sources = "".join(
            f'[[sources]]\nname = "{name}"\npath = "{path}"\nprovider = "standard-webhooks"\n'
            f'secrets = ["{found}"]\nupstream = "app"\n'
            for name, path, found in (
                ("single", "/single", "env:SECRET"),
                ("partners", "/partners/{tenant}", f"file:{folder}/tenants/{{tenant}}")))
        config = folder / "gateway.toml"
        config.write_text(
            f'[server]\nlisten = ["127.0.0.1:{self.port}"]\nadmin = "127.0.0.1:{free_port()}"\n'
            f'[replay]\nmax_entries = 20000000\nboot_fence = false\n'
            f'[upstreams.app]\nservers = ["127.0.0.1:{upstream}"]\n{sources}')
        self.process = subprocess.Popen(
            [binary, "run", "--config", config],
            env={**os.environ, "SECRET": secret(-1), "HOOKGATE_LOG": "error"},
            stdout=(folder / "log").open("wb"), stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_TIMEOUT
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit((folder / "log").read_text())
            time.sleep(0.05)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port)

    def send(self, path, number):
        """Sends a delivery, and checks that it was forwarded."""
        status = self.status(path, number)
        if status != 200:
            sys.exit(f"{path}: expected 200, got {status}")

    def status(self, path, number):
        """Sends a delivery that is signed with the key of a number, and returns the status."""
        self.sent += 1
        event, now = f"msg_{self.sent}", str(int(time.time()))
        message = f"{event}.{now}.".encode() + BODY
        signature = base64.b64encode(hmac.digest(key(number), message, "sha256")).decode()
        self.connection.request("POST", path, BODY, {
            "webhook-id": event, "webhook-timestamp": now, "webhook-signature": f"v1,{signature}"})
        response = self.connection.getresponse()
        response.read()
        return response.status

    def seconds_until(self, path, number, expected):
        """Sends deliveries until one has a status. Returns how long that took."""
        start = time.monotonic()
        while (status := self.status(path, number)) != expected:
            if time.monotonic() - start > START_TIMEOUT:
                sys.exit(f"{path}: still {status}, expected {expected}")
            time.sleep(0.01)
        return time.monotonic() - start

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")")[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self):
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def measure(self, deliveries):
        """Sends the deliveries, and returns the CPU time of one in microseconds."""
        before = self.cpu_seconds()
        for path, number in deliveries:
            self.send(path, number)
        return (self.cpu_seconds() - before) / len(deliveries) * 1e6


def measure_changes(gateway, folder, tenants):
    """Adds, changes and removes files. Returns the longest time until a change counts."""
    took = {"new": [], "changed": [], "removed": []}
    for number in range(CHANGES):
        path, file = f"/partners/new{number}", tenants / f"new{number}"
        for kind, name in (("new", -2 - number), ("changed", -2 - CHANGES - number)):
            written = folder / "written"
            written.write_text(secret(name))
            written.rename(file)
            took[kind].append(gateway.seconds_until(path, name, 200))
        file.unlink()
        took["removed"].append(gateway.seconds_until(path, -2 - CHANGES - number, 404))
    for kind, seconds in took.items():
        print(f"{kind} file: median {statistics.median(seconds) * 1000:.1f} ms, "
              f"longest {max(seconds) * 1000:.1f} ms")
    return max(max(seconds) for seconds in took.values())


def run(options, folder):
    tenants = folder / "tenants"
    tenants.mkdir()
    for number in range(options.tenants):
        (tenants / f"t{number}").write_text(secret(number))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    gateway = Gateway(options.gateway, folder, server.server_address[1])
    try:
        start = gateway.rss_mib()
        order = list(range(options.tenants))
        random.Random(1).shuffle(order)
        cold = gateway.measure([(f"/partners/t{number}", number) for number in order])
        print(f"{options.tenants} tenants, first delivery: {cold:.1f} us; "
              f"memory {start:.0f} -> {gateway.rss_mib():.0f} MiB, events included")
        costs = {"single": [], "tenants": []}
        for round_number in range(options.rounds):
            chosen = random.Random(round_number).choices(order, k=options.deliveries)
            kinds = {"single": [("/single", -1)] * options.deliveries,
                     "tenants": [(f"/partners/t{number}", number) for number in chosen]}
            for kind in list(kinds)[::-1 if round_number % 2 else 1]:
                costs[kind].append(gateway.measure(kinds[kind]))
        single, tenant = (statistics.median(costs[kind]) for kind in ("single", "tenants"))
        print(f"warm delivery: single source {single:.1f} us, one of {options.tenants} tenants "
              f"{tenant:.1f} us, difference {tenant - single:+.1f} us, ratio {tenant / single:.3f}")
        if tenant - single > MAX_DIFFERENCE and not options.smoke:
            sys.exit(f"a tenant costs more than {MAX_DIFFERENCE} us")
        slowest = measure_changes(gateway, folder, tenants)
        if slowest > MAX_CHANGE_SECONDS and not options.smoke:
            sys.exit(f"a change takes more than {MAX_CHANGE_SECONDS} s")
    finally:
        gateway.process.kill()
        gateway.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gateway", help="the program hookgate")
    parser.add_argument("--tenants", type=int, default=100_000)
    parser.add_argument("--deliveries", type=int, default=20_000, help="of each kind, in a round")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--smoke", action="store_true", help="assert the responses only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hookgate-tenants-") as folder:
        run(options, pathlib.Path(folder))


if __name__ == "__main__":
    main()
