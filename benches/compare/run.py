#!/usr/bin/env python3
"""Compares the cost of a delivery: the gateway and the layer beside other systems.

Installs and starts every system from packages, checks that each one responds correctly to a
genuine and to a forged delivery, measures the systems in turn over several rounds, and writes a
record. The figure is the CPU time of the system's processes for each delivery.

Absolute times differ between machines, so compare ratios within one run. The systems share one
core; the load generator and the upstream share another. systems.py has the systems, measure.py
the measurements, and report.py the record.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

from measure import (commit, load, machine, measure, measure_with_repeats, touch_memory, versions)
from report import SIZES, render, update_readme
from systems import HERE, PEERS, ROOT, Process, Workspace, free_port, start_upstream, systems


def install(options):
    """Installs the peers, and builds the programs of this repository."""
    wanted = {"nginx": "nginx", "haproxy": "haproxy", "webhook": "webhook", "node": "nodejs",
              "npm": "npm", "openssl": "openssl", "taskset": "util-linux"}
    missing = [package for tool, package in wanted.items() if not shutil.which(tool)]
    if not pathlib.Path("/usr/lib/nginx/modules/ngx_http_js_module.so").exists():
        missing.append("libnginx-mod-http-js")
    if missing:
        if not shutil.which("apt-get"):
            raise SystemExit(f"install the equivalent of the Debian packages {' '.join(missing)}")
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*sudo, "apt-get", "update", "-qq"], check=True)
        subprocess.run([*sudo, "apt-get", "install", "-y", "-qq", "--no-install-recommends",
                        *missing], check=True, env={**os.environ,
                                                    "DEBIAN_FRONTEND": "noninteractive"})
    node = PEERS / "node"
    if not (node / "node_modules").exists():
        node.mkdir(parents=True, exist_ok=True)
        (node / "package.json").write_text(json.dumps({
            "private": True, "type": "module",
            "dependencies": {"express": "5", "standardwebhooks": "1"}}))
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=node,
                       check=True)
    shutil.copy(HERE / "systems" / "receiver.js", node)
    python = PEERS / "python"
    if not (python / "bin" / "uvicorn").exists():
        subprocess.run([sys.executable, "-m", "venv", python], check=True)
        subprocess.run([python / "bin" / "pip", "install", "--quiet",
                        "--disable-pip-version-check", "fastapi", "uvicorn[standard]",
                        "standardwebhooks"], check=True)
    if not options.no_build:
        build = ["cargo", "build", "--locked", "--release", "--bins", "-p", "hookgate", "-p",
                 "hookgate-benches"]
        subprocess.run(build, cwd=ROOT, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", action="append", help="name of a system; may be repeated")
    parser.add_argument("--size", action="append", type=int, choices=SIZES)
    parser.add_argument("--record", type=pathlib.Path, help="Markdown file to write")
    parser.add_argument("--no-build", action="store_true", help="measure the existing binaries")
    parser.add_argument("--check", action="store_true",
                        help="check the responses of every system without measuring")
    options = parser.parse_args()
    install(options)
    touch_memory()
    workspace = Workspace()
    upstream = start_upstream(workspace)
    try:
        record = compare(options, workspace, upstream.port)
    finally:
        upstream.stop()
        shutil.rmtree(workspace.dir, ignore_errors=True)
    if record:
        write_record(record, options)


def write_record(record, options):
    """Prints the record. Writes it as Markdown and JSON, and updates the README after a full run."""
    page = render(record)
    print(page)
    if not options.record:
        return
    options.record.write_text(page)
    # Join the lines of each measurement, so that it has one line.
    figures = re.sub(r"\{[^{}\[\]]*\}", lambda match: " ".join(match[0].split()),
                     json.dumps(record, indent=1))
    options.record.with_suffix(".json").write_text(figures + "\n")
    if not (options.only or options.size):
        update_readme(record, options.record)


def compare(options, workspace, upstream_port):
    """Starts, checks, and measures the chosen systems. Returns the record, or None for --check."""
    chosen = [system for system in systems(workspace)
              if not options.only or system.name in options.only]
    processes, results, repeats = {}, {}, {}
    try:
        for system in chosen:
            port = free_port()
            processes[system.name] = Process(system.command(port, upstream_port), system.env, 0,
                                             port, workspace.dir / f"{port}.log")
            check(system, processes[system.name], workspace)
            print(f"checked {system.name}", file=sys.stderr)
        if options.check:
            return None
        for number in range(options.rounds):
            measure_round(chosen, processes, workspace, options, results, repeats)
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        refused = refusals(chosen, processes, workspace, options)
        latencies = tails(chosen, processes, workspace, options, results, repeats)
    finally:
        for process in processes.values():
            process.stop()
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "rounds": options.rounds,
        "repeated": repeats,
        "versions": versions(),
        "systems": {system.name: {"verifies": system.verifies, "forwards": system.forwards}
                    for system in chosen},
        "results": results,
        "refusals": refused,
        "tails": latencies,
    }


def check(system, process, workspace):
    """Checks that a system accepts a genuine delivery, and refuses a forged one if it verifies."""
    load(system, process, workspace, 1024, 4, 1)
    expected = system.forged_status or 2
    load(system, process, workspace, 1024, 4, 1, "--fault", "forged", "--expect", expected)


def measure_round(chosen, processes, workspace, options, results, repeats):
    """Measures every system once for each body size."""
    for size, (count, connections) in SIZES.items():
        if options.size and size not in options.size:
            continue
        for system in chosen:
            if size > system.max_len:
                continue
            # Every system gets the same count, because each delivery bears a part of the cost of
            # the connections. webhook starts a program for each delivery and gets fewer.
            each = min(count, 500) if system.name.startswith("webhook") else count
            figures = measure_with_repeats(system, repeats, processes[system.name], workspace,
                                           size, each, connections)
            results.setdefault(system.name, {}).setdefault(str(size), []).append(figures)


def refusals(chosen, processes, workspace, options):
    """Returns the cost of refused deliveries, and of forwarded ones in the same rounds."""
    system = next((system for system in chosen if system.name == "hookgate"), None)
    if system is None:
        return {}
    out = {}
    for _ in range(options.rounds):
        for name, size, fault in [("forwarded 1 KiB", 1024, None), ("forged 1 KiB", 1024, "forged"),
                                  ("stale 1 KiB", 1024, "stale"),
                                  ("stale 64 KiB", 65_536, "stale")]:
            extra = ["--fault", fault, "--expect", "401"] if fault else []
            figures = measure(system, processes[system.name], workspace, size, 5_000, 32, *extra)
            out.setdefault(name, []).append(figures["cpu_us"])
    return out


def tails(chosen, processes, workspace, options, results, repeats):
    """Returns the latencies of every forwarding system at half of hookgate's maximum rate."""
    saturated = results.get("hookgate", {}).get("1024")
    if not saturated:
        return {}
    rate = statistics.median(figures["per_second"] for figures in saturated) / 2
    out = {"rate": rate, "p50_us": {}, "p99_us": {}}
    for _ in range(options.rounds):
        for system in chosen:
            if system.forwards and not system.tls:
                figures = measure_with_repeats(system, repeats, processes[system.name], workspace,
                                               1024, int(rate), 32, "--rate", rate)
                for figure in ("p50_us", "p99_us"):
                    out[figure].setdefault(system.name, []).append(figures[figure])
    return out


if __name__ == "__main__":
    main()
