#!/usr/bin/env python3
"""Counts the instructions of a delivery in the gateway under callgrind.

Each variant runs twice, with few and with many deliveries. The difference is the cost of the
deliveries, without start and exit. The access log is off. Instruction counts do not depend on
other load of the machine.

    delivery_instructions.py [--before GATEWAY] [--variant NAME] [--profile FOLDER]

--before names the binary of an earlier commit, to which the gateway without an inspector is
compared.
"""

import argparse
import pathlib
import re
import signal
import statistics
import subprocess

from measure import commit, load
from systems import BIN, SECRET, Process, System, Workspace, free_port, start_upstream

TOKEN = "a-token-of-the-benchmark"
FEW, MANY = 500, 2500
EXIT_TIMEOUT = 120
# The variants: a table, a key of the source, and whether the page of the inspector is open.
INSPECTOR = '[inspector]\ntoken = "env:TOKEN"\n'
QUEUE = '[queue]\nstore = "disk"\npath = "{folder}"\n'
VARIANTS = {"off": ("", "", False), "on": (INSPECTOR, "", False),
            "on, page open": (INSPECTOR, "", True),
            "on_failure": (QUEUE, 'queue = "on_failure"\n', False)}


def run(workspace, upstream, gateway, variant, count, profile):
    """Returns the instructions of a gateway that forwards `count` deliveries."""
    table, key, page = VARIANTS[variant]
    port, admin = free_port(), free_port()
    table = table.format(folder=workspace.dir / f"queue-{port}")
    config = workspace.write(f"instructions-{port}.toml", (
        f'[server]\naccess_log = "off"\nlisten = ["127.0.0.1:{port}"]\n'
        f'admin = "127.0.0.1:{admin}"\n[replay]\nboot_fence = false\n{table}'
        f'[upstreams.app]\nservers = ["127.0.0.1:{upstream}"]\n'
        f'[[sources]]\nname = "hooks"\nupstream = "app"\npath = "/hooks"\n'
        f'provider = "standard-webhooks"\nsecrets = ["env:SECRET"]\n{key}'))
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", str(gateway),
               "run", "--config", str(config)]
    log = workspace.dir / f"{port}.log"
    environment = {"HOOKGATE_LOG": "error", "SECRET": SECRET, "TOKEN": TOKEN}
    process = Process(command, environment, 0, port, log)
    stream = ["curl", "-sN", "-H", f"Authorization: Bearer {TOKEN}",
              f"http://127.0.0.1:{admin}/api/stream"]
    reader = subprocess.Popen(stream, stdout=subprocess.DEVNULL) if page else None
    try:
        system = System("hookgate", "all", True, None)
        load(system, process, workspace, 1024, count, 1)
        process.process.send_signal(signal.SIGTERM)
        process.process.wait(EXIT_TIMEOUT)
    finally:
        if reader:
            reader.kill()
            reader.wait()
        process.stop()
    collected = re.search(r"Collected : (\d+)", log.read_text())
    if not collected:
        raise SystemExit(f"{' '.join(command)}:\n{log.read_text()}")
    return int(collected.group(1))


def delivery(workspace, upstream, gateway, variant, profile):
    """Returns the instructions of one delivery."""
    few = run(workspace, upstream, gateway, variant, FEW, "/dev/null")
    many = run(workspace, upstream, gateway, variant, MANY, profile)
    return (many - few) / (MANY - FEW)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=pathlib.Path, help="the gateway of an earlier commit")
    parser.add_argument("--variant", action="append", choices=VARIANTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", type=pathlib.Path, help="folder for callgrind's files")
    options = parser.parse_args()
    cases = {name: (BIN / "hookgate", name) for name in options.variant or VARIANTS}
    if options.before:
        cases["before"] = (options.before, "off")
    workspace = Workspace()
    upstream = start_upstream(workspace)
    try:
        counts = {name: [] for name in cases}
        for _ in range(options.rounds):
            for name, (gateway, variant) in cases.items():
                profile = options.profile / f"{name}.callgrind" if options.profile else "/dev/null"
                counts[name].append(delivery(workspace, upstream.port, gateway, variant, profile))
    finally:
        upstream.stop()
    print(f"commit {commit()}, {MANY - FEW} deliveries of 1 KiB, {options.rounds} rounds")
    for name, values in counts.items():
        print(f"{name:14} {statistics.median(values):9.0f} instructions "
              f"({min(values):.0f} to {max(values):.0f})")


if __name__ == "__main__":
    main()
