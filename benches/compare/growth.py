#!/usr/bin/env python3
"""Measures how the gateway's cost of a delivery grows, writes the figures as JSON, and plots them.

The variables are the remembered events, the sources and keys of the configuration, the
connections, and the size of the body. The figure is the CPU time for each delivery, as in run.py.
Each plotted point is the median of several rounds.
"""

import argparse
import base64
import json
import os
import pathlib
import shutil
import statistics
import sys

from measure import commit, machine, measure, touch_memory
from systems import BIN, SECRET, Process, System, Workspace, free_port, start_upstream

EVENTS = [1_000, 10_000, 100_000, 1_000_000]
SOURCES = [1, 10, 100, 1_000]
KEYS = [1, 2, 4, 8]
CONNECTIONS = [1, 4, 16, 64, 256]
BODIES = [256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576]


def start_gateway(workspace, upstream, sources=1, keys=1):
    """Starts a gateway. Deliveries use its last source and the last key of that source."""
    port = free_port()
    other_keys = {f"OTHER_{n}": "whsec_" + base64.b64encode(f"another key, no. {n:02}".encode()).decode()
              for n in range(1, keys)}
    tables = [
        f'[server]\nlisten = ["127.0.0.1:{port}"]\nadmin = "127.0.0.1:{free_port()}"\n'
        f'access_log = "off"\n[replay]\nmax_entries = 20000000\nboot_fence = false\n'
        f'[limits]\nbody = "8MiB"\n'
        f'refused_per_minute = {{ address = 4000000000, source = 4000000000 }}\n[upstreams.app]\nservers = ["127.0.0.1:{upstream}"]\n']
    secrets = json.dumps([f"env:{name}" for name in other_keys] + ["env:SECRET"])
    for number in range(sources):
        last = number == sources - 1
        tables.append(
            f'[[sources]]\nname = "bench-{number}"\nupstream = "app"\n'
            f'path = "{"/hooks" if last else f"/hooks/{number}"}"\n'
            f'provider = "standard-webhooks"\nsecrets = {secrets if last else json.dumps(["env:SECRET"])}\n')
    config = workspace.write(f"growth-{port}.toml", "".join(tables))
    environment = {"HOOKGATE_LOG": "error", "SECRET": SECRET, **other_keys}
    command = [str(BIN / "hookgate"), "run", "--config", str(config)]
    return Process(command, environment, 0, port, workspace.dir / f"{port}.log")


def series(workspace, upstream, rounds):
    """Returns the points of every plot: a value and the median cost."""
    system = System("hookgate", "all", True, None, forged_status=401)

    def cost(process, size=1024, count=5_000, connections=32):
        return measure(system, process, workspace, size, count, connections)["cpu_us"]

    def each(values, start, **arguments):
        """Measures every value in each round, with one gateway for each value."""
        processes = {value: start(value) for value in values}
        try:
            for process in processes.values():
                cost(process, count=500)
            costs = {value: [] for value in values}
            for number in range(rounds):
                # Alternate the direction, so that no value is always measured first.
                for value in values[::-1 if number % 2 else 1]:
                    options = {name: choose(value) for name, choose in arguments.items()}
                    costs[value].append(cost(processes[value], **options))
            return [(value, statistics.median(costs[value])) for value in values]
        finally:
            for process in processes.values():
                process.stop()

    out = {}
    out["sources"] = each(SOURCES, lambda n: start_gateway(workspace, upstream, sources=n))
    out["keys"] = each(KEYS, lambda n: start_gateway(workspace, upstream, keys=n))
    process = start_gateway(workspace, upstream)
    out["connections"] = each(CONNECTIONS, lambda _: process, connections=lambda n: n)
    process = start_gateway(workspace, upstream)
    out["bytes of the body"] = each(
        BODIES, lambda _: process, size=lambda n: n,
        count=lambda n: max(100, min(5_000, 25_000_000 // n)),
        connections=lambda n: 32 if n < 65_536 else 16)

    def start_with_events(events):
        """Starts a gateway that remembers this number of events."""
        process = start_gateway(workspace, upstream)
        while events:
            more = min(200_000, events)
            measure(system, process, workspace, 256, more, 32)
            events -= more
        return process

    # Every point has the same count, because each delivery bears a part of the cost of the
    # connections. The gateway also remembers the events of these rounds.
    count = 500
    points = each(EVENTS, start_with_events, count=lambda _: count)
    out["events remembered"] = [(events + count * (rounds + 1) // 2, cost) for events, cost in points]
    return out


def label(value):
    """Returns a short label for a value on the horizontal axis."""
    for unit, name in [(1 << 20, "Mi"), (1 << 10, "Ki")]:
        if value >= unit and value % unit == 0:
            return f"{value // unit} {name}"
    return f"{value:,}".replace(",", " ")


def draw(out):
    """Returns an SVG with one plot for each series. Both axes are logarithmic."""
    import math
    width, height, left, bottom, top = 300, 220, 52, 44, 30
    names = ["events remembered", "sources", "keys", "connections", "bytes of the body"]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {3 * width} {2 * height}" '
             'font-family="sans-serif" font-size="11">'
             '<rect width="100%" height="100%" fill="white"/>']
    for index, name in enumerate(names):
        points = out[name]
        x0, y0 = (index % 3) * width, (index // 3) * height
        most = max(cost for _, cost in points)
        ticks = [t for t in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)]
        low = max(t for t in ticks if t <= min(cost for _, cost in points)) if min(
            cost for _, cost in points) >= 10 else 5
        high = min(t for t in ticks + [10_000] if t >= most)
        if high <= 100:
            low = 0

        def x(value):
            first, last = math.log(points[0][0]), math.log(points[-1][0])
            return x0 + left + (width - left - 20) * (math.log(value) - first) / (last - first)

        def y(cost):
            part = cost / high if low == 0 else math.log(cost / low) / math.log(high / low)
            return y0 + height - bottom - (height - bottom - top) * part

        parts.append(f'<text x="{x0 + width / 2:.0f}" y="{y0 + 18}" text-anchor="middle" '
                     f'font-weight="bold">{name}</text>')
        shown = [t for t in ticks if low <= t <= high] if low else [high * n // 5 for n in range(6)]
        for tick in shown:
            parts.append(f'<line x1="{x0 + left}" x2="{x0 + width - 20}" y1="{y(tick):.1f}" '
                         f'y2="{y(tick):.1f}" stroke="#ddd"/><text x="{x0 + left - 6}" '
                         f'y="{y(tick) + 4:.1f}" text-anchor="end">{tick}</text>')
        path = " ".join(f"{x(value):.1f},{y(cost):.1f}" for value, cost in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="#0b6" stroke-width="2"/>')
        for value, cost in points:
            parts.append(f'<circle cx="{x(value):.1f}" cy="{y(cost):.1f}" r="3" fill="#0b6"/>'
                         f'<text x="{x(value):.1f}" y="{y(cost) - 7:.1f}" text-anchor="middle" '
                         f'fill="#555" font-size="9">{cost:.0f}</text>'
                         f'<text x="{x(value):.1f}" y="{y0 + height - bottom + 16}" '
                         f'text-anchor="middle" font-size="9">{label(value)}</text>')
    x0, y0 = 2 * width, height
    parts.append(f'<text x="{x0 + 30}" y="{y0 + 60}">CPU time of the gateway</text>'
                 f'<text x="{x0 + 30}" y="{y0 + 76}">for each delivery, in µs</text>'
                 f'<text x="{x0 + 30}" y="{y0 + 100}" fill="#555">1 KiB, 32 connections, one source</text>'
                 f'<text x="{x0 + 30}" y="{y0 + 116}" fill="#555">and key, except for the variable</text>')
    parts.append("</svg>\n")
    return "".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--to", type=pathlib.Path, required=True,
                        help="JSON file to write; the plot goes into the .svg file beside it")
    options = parser.parse_args()
    os.environ.setdefault("LC_ALL", "C")
    touch_memory()
    workspace = Workspace()
    upstream = start_upstream(workspace)
    try:
        out = series(workspace, upstream.port, options.rounds)
    finally:
        upstream.stop()
        shutil.rmtree(workspace.dir, ignore_errors=True)
    record = {"machine": machine(), "commit": commit(), "rounds": options.rounds, "cpu_us": out}
    options.to.write_text(json.dumps(record, indent=1) + "\n")
    options.to.with_suffix(".svg").write_text(draw(out))
    for name, points in out.items():
        print(name, *(f"{value}: {cost:.1f}" for value, cost in points), sep="\n  ")


if __name__ == "__main__":
    sys.exit(main())
