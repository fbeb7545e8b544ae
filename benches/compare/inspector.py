#!/usr/bin/env python3
"""Measures what the inspector costs a delivery, and that a flood pushes out no genuine capture.

The figure is the CPU time of the whole gateway process for each delivery, as in run.py. The
gateways without and with an inspector are measured in turn, in alternating order. An open page
is a client that reads the event stream.

    inspector.py [--rounds N] [--markdown]

Fails if an open page costs a delivery more than 5 %, or if the flood pushes a capture out.
"""

import argparse
import json
import statistics
import subprocess
import sys
import urllib.request

from measure import commit, load, machine, measure, touch_memory
from systems import BIN, SECRET, Process, System, Workspace, free_port, start_upstream

TOKEN = "a-token-of-the-benchmark"
MAX_COST = 0.05
FORGED = 100_000
GENUINE = 50
# The variants: the lines of the table [inspector], and whether a page is open.
VARIANTS = {
    "off": (None, False),
    "on": ("", False),
    "on, page open": ("", True),
    "on, page open, refused captured": ('capture = "refused"\n', True),
    "on, page open, all captured": ('capture = "all"\n', True),
}


class Gateway:
    """A gateway, with a reader of its event stream if `page` is true."""

    def __init__(self, workspace, upstream, inspector, page):
        port, self.admin = free_port(), free_port()
        table = "" if inspector is None else f'[inspector]\ntoken = "env:TOKEN"\n{inspector}'
        config = workspace.write(f"inspector-{port}.toml", (
            f'[server]\nlisten = ["127.0.0.1:{port}"]\nadmin = "127.0.0.1:{self.admin}"\n'
            f'[replay]\nmax_entries = 20000000\nboot_fence = false\n'
            f'[limits]\n'
            f'refused_per_minute = {{ address = 4000000000, source = 4000000000 }}\n'
            f'{table}[upstreams.app]\nservers = ["127.0.0.1:{upstream}"]\n'
            + "".join(f'[[sources]]\nname = "{name}"\nupstream = "app"\npath = "/{name}"\n'
                      f'provider = "standard-webhooks"\nsecrets = ["env:SECRET"]\n'
                      for name in ("hooks", "quiet"))))
        environment = {"HOOKGATE_LOG": "error", "SECRET": SECRET, "TOKEN": TOKEN}
        self.process = Process([str(BIN / "hookgate"), "run", "--config", str(config)],
                               environment, 0, port, workspace.dir / f"{port}.log")
        self.page = None
        if page:
            url = f"http://127.0.0.1:{self.admin}/api/stream"
            self.page = subprocess.Popen(
                ["taskset", "-c", "1", "curl", "-sN", "-H", f"Authorization: Bearer {TOKEN}", url],
                stdout=subprocess.DEVNULL)

    def get(self, path):
        """Returns the JSON of an address of the API."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin}{path}",
                                         headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def stop(self):
        if self.page:
            self.page.kill()
            self.page.wait()
        self.process.stop()


def measure_cost(workspace, upstream, rounds, count):
    """Returns the costs of each variant, one for each round."""
    system = System("hookgate", "all", True, None, forged_status=401)
    gateways = {name: Gateway(workspace, upstream, *variant) for name, variant in VARIANTS.items()}
    costs = {name: [] for name in VARIANTS}
    try:
        for gateway in gateways.values():
            measure(system, gateway.process, workspace, 1024, 500, 32)
        for number in range(rounds):
            for name in list(VARIANTS)[::-1 if number % 2 else 1]:
                figures = measure(system, gateways[name].process, workspace, 1024, count, 32)
                costs[name].append(figures["cpu_us"])
        for name, gateway in gateways.items():
            if name != "off":
                dropped = gateway.get("/api/status")["records"]["dropped"]
                print(f"{name}: {dropped} of {rounds * count} records dropped")
    finally:
        for gateway in gateways.values():
            gateway.stop()
    return costs


def flood(workspace, upstream):
    """Returns how many captures of refused deliveries and of verified ones a flood leaves."""
    gateway = Gateway(workspace, upstream, 'capture = "all"\ncapture_bytes = "16MiB"\n', True)

    def send(source, count, *options):
        system = System("hookgate", "all", True, None, path=f"/{source}", forged_status=401)
        return load(system, gateway.process, workspace, 1024, count, 32, *options)

    def kept(source, outcome):
        found = gateway.get(f"/api/deliveries?source={source}&outcome={outcome}&limit=500")
        return sum(1 for record in found["deliveries"] if record.get("capture") == "complete")
    try:
        # The refused deliveries of the quiet source are those that an operator looks for.
        send("quiet", GENUINE, "--fault", "stale", "--expect", 401)
        send("hooks", GENUINE)
        figures = send("hooks", FORGED, "--fault", "forged", "--expect", 401)
        print(f"{figures['count'] / figures['seconds']:.0f} forged deliveries a second")
        return kept("quiet", "refused"), kept("hooks", "forwarded"), kept("hooks", "refused")
    finally:
        gateway.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--markdown", action="store_true", help="print the table of the docs")
    options = parser.parse_args()
    workspace = Workspace()
    touch_memory()
    upstream = start_upstream(workspace)
    try:
        costs = measure_cost(workspace, upstream.port, options.rounds, options.count)
        refused, verified, forged = flood(workspace, upstream.port)
    finally:
        upstream.stop()
    off = costs["off"]
    ratios = {name: statistics.median(on / base for on, base in zip(values, off))
              for name, values in costs.items()}
    if options.markdown:
        print(f"{machine()}, commit {commit()}, {options.rounds} rounds\n")
        print("| inspector | CPU time of a delivery | beside off |\n|---|---|---|")
    for name, values in costs.items():
        cells = [name, f"{statistics.median(values):.1f} µs", f"{ratios[name]:.3f}"]
        print("| " + " | ".join(cells) + " |" if options.markdown else "  ".join(cells))
    print(f"after {FORGED} forged deliveries: {refused} of {GENUINE} captures of the other source "
          f"and {verified} of {GENUINE} of verified deliveries are left, and {forged} forged ones")
    failed = ratios["on, page open"] > 1 + MAX_COST or (refused, verified) != (GENUINE, GENUINE)
    # The control: the flood does fill its own share.
    return int(failed or forged == 0)


if __name__ == "__main__":
    sys.exit(main())
