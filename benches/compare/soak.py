#!/usr/bin/env python3
"""Measures that the memory of a gateway does not grow while its events turn over ten times.

Two gateways get new events at a fixed rate. One has a disk store, a queue that stores each delivery,
and an inspector that captures each delivery. The other one has a memory store only, so its memory
shows the cost of a remembered event. The retention is the shortest one that the window allows. An
event of the queue is remembered for longer, by the time after which the queue gives up.

    soak.py [--turnovers N]

Fails if the memory of a gateway grows by more than 1 MiB a minute in the second half of the run, or
if an event takes more than 450 bytes. The control in the same run is the first turnover, in which
the memory store grows.
"""

import argparse
import pathlib
import shutil
import statistics
import sys
import threading
import time
import urllib.request

from measure import commit, load, machine
from systems import BIN, SECRET, Process, System, Workspace, free_port, start_upstream

SYSTEM = System("hookgate", "all", True, None, forged_status=401)
BODY = 1024
CONNECTIONS = 16
# The window of the source in seconds. The load generator signs all deliveries of a call at its start.
PAST, FUTURE = 10, 1
# The shortest retention: the window, and twice the clock error of 30 s, and a second.
RETENTION = PAST + FUTURE + 61
# The seconds after which the queue gives up.
GIVE_UP = 4
# New events a second. Many events in the memory store make the rest of the process small.
RATES = {"queue and inspector": 500, "memory store": 1500}
# The seconds of one call of the load generator.
CALL = 4
# The targets.
MAX_SLOPE = 1.0
MAX_BYTES_AN_EVENT = 450

STORES = {
    "queue and inspector": (
        'store = "disk"\npath = "{stores}/replay"\n'
        '[queue]\nstore = "disk"\npath = "{stores}/queue"\n'
        '[inspector]\ntoken = "env:TOKEN"\ncapture = "all"\ncapture_bytes = "16MiB"\n'),
    "memory store": 'store = "memory"\nboot_fence = false\n',
}


class Gateway:
    """A gateway, and the samples of its memory and of its remembered events."""

    def __init__(self, workspace, upstream, name):
        self.name, self.port, self.admin = name, free_port(), free_port()
        self.samples, self.sent = [], 0
        stores = workspace.dir / f"stores-{self.port}"
        queue = "" if name == "memory store" else (
            f'queue = "always"\n'
            f'retry = {{ first = "1s", factor = 1, max = "1s", give_up = "{GIVE_UP}s" }}\n')
        config = workspace.write(f"soak-{self.port}.toml", (
            f'[server]\nlisten = ["127.0.0.1:{self.port}"]\nadmin = "127.0.0.1:{self.admin}"\n'
            f'access_log = "off"\n[replay]\n{STORES[name].format(stores=stores)}'
            f'[upstreams.app]\nservers = ["127.0.0.1:{upstream}"]\n'
            f'[[sources]]\nname = "bench"\npath = "/hooks"\nupstream = "app"\n'
            f'provider = "standard-webhooks"\nsecrets = ["env:SECRET"]\n'
            f'window = {{ past = "{PAST}s", future = "{FUTURE}s" }}\n'
            f'retention = "{RETENTION}s"\n{queue}'))
        environment = {"HOOKGATE_LOG": "error", "SECRET": SECRET, "TOKEN": "a-token-of-the-soak"}
        self.process = Process([str(BIN / "hookgate"), "run", "--config", str(config)],
                               environment, "0,1", self.port, workspace.dir / f"{self.port}.log")

    def send(self, workspace):
        """Sends new events for the seconds of one call."""
        rate = RATES[self.name]
        load(SYSTEM, self.process, workspace, BODY, rate * CALL, CONNECTIONS, "--rate", rate)
        self.sent += rate * CALL

    def metric(self, series):
        """Returns the sum of the values whose name and labels start with `series`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics") as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(series))

    def sample(self, start):
        """Adds a sample: the minutes since `start`, the memory in MiB, and the events."""
        status = pathlib.Path(f"/proc/{self.process.process.pid}/status").read_text().splitlines()
        kib = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
        minutes = (time.monotonic() - start) / 60
        self.samples.append((minutes, kib / 1024, self.metric("hookgate_replay_entries")))

    def slope(self):
        """Returns the growth of the memory in the second half, in MiB a minute."""
        half = self.samples[len(self.samples) // 2:]
        return statistics.linear_regression(*list(zip(*half))[:2]).slope

    def bytes_an_event(self):
        """Returns by how much the memory grew since the first sample, for each event."""
        half = self.samples[len(self.samples) // 2:]
        _, first_mib, first_events = self.samples[0]
        grown = statistics.mean(mib for _, mib, _ in half) - first_mib
        events = statistics.mean(events for _, _, events in half) - first_events
        return grown * 2**20 / events


def run(gateways, workspace, seconds):
    """Sends events to all gateways at the same time, and samples their memory."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        failures = []

        def send(gateway):
            try:
                gateway.send(workspace)
            except SystemExit as error:
                failures.append(str(error))
        calls = [threading.Thread(target=send, args=(gateway,)) for gateway in gateways]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
        if failures:
            raise SystemExit("\n".join(failures))
        for gateway in gateways:
            gateway.sample(start)


def report(gateways, minutes):
    """Prints the figures. Returns the missed targets."""
    print(f"{machine()}, commit {commit()}: {minutes:.1f} minutes, retention {RETENTION} s")
    missed = []

    def figure(gateway, name, value, unit, is_good=True):
        print(f"figure: soak, {gateway.name}, {name} = {value} {unit}".rstrip())
        if not is_good:
            missed.append(f"{gateway.name}: {name} {value}")
    for gateway in gateways:
        live = gateway.samples[-1][2]
        turnovers = gateway.sent / live
        figure(gateway, "rate", RATES[gateway.name], "events/s")
        figure(gateway, "events", gateway.sent, "")
        figure(gateway, "remembered at the end", int(live), "")
        figure(gateway, "turnovers", f"{turnovers:.1f}", "")
        figure(gateway, "memory at the end", f"{gateway.samples[-1][1]:.1f}", "MiB")
        slope = gateway.slope()
        figure(gateway, "slope of the second half", f"{slope:.3f}", "MiB/min", slope <= MAX_SLOPE)
    memory = next(gateway for gateway in gateways if gateway.name == "memory store")
    size = memory.bytes_an_event()
    figure(memory, "memory of an event", f"{size:.0f}", "B", 0 < size <= MAX_BYTES_AN_EVENT)
    queue = next(gateway for gateway in gateways if gateway is not memory)
    figure(queue, "deliveries that wait at the end",
           int(queue.metric('hookgate_queue_deliveries{')), "")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turnovers", type=float, default=10)
    options = parser.parse_args()
    workspace = Workspace()
    upstream = start_upstream(workspace)
    gateways = []
    try:
        gateways += [Gateway(workspace, upstream.port, name) for name in STORES]
        # The stores remove expired events some seconds late.
        seconds = options.turnovers * (RETENTION + 4 * GIVE_UP)
        run(gateways, workspace, seconds)
        missed = report(gateways, seconds / 60)
    finally:
        for process in [gateway.process for gateway in gateways] + [upstream]:
            process.stop()
        shutil.rmtree(workspace.dir, ignore_errors=True)
    print("missed targets: " + ("; ".join(missed) if missed else "none"))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
