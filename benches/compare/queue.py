#!/usr/bin/env python3
"""Measures the queue: stored deliveries, response times, a backlog, the start, and the drain.

All systems run on the same two cores as the load generator. Each figure has a control in the same
run: a gateway without a queue, and SQLite written with one transaction for each delivery. Needs
redis-server and nats-server.

    queue.py [--rounds N] [--count N] [--backlog N] [--record FILE]

Fails if a target of the record is missed; `--quick` runs every step with few deliveries and checks
no target.
"""

import argparse
import datetime
import os
import pathlib
import shutil
import signal
import sqlite3
import statistics
import sys
import time
import urllib.request

from measure import commit, load, machine, measure, rss_mib, touch_memory
from systems import BIN, SECRET, Process, System, Workspace, free_port, start_upstream

SYSTEM = System("hookgate", "all", True, None, forged_status=401)
BODY = 1024
CONNECTIONS = 32
# The load generator prepares all deliveries of a call in memory.
CHUNK = 50_000
# The number of short rounds in place of each round, where a small difference is measured.
SHORT_ROUNDS = 5
DURABILITIES = ["process", "power"]
DRAIN_TIMEOUT = 3600
# The targets of the queue.
MIN_STORED_PER_SECOND = 10_000
MIN_STORED_PER_SECOND_JETSTREAM = 5_000
MAX_P99_MS = {"process": 5.0, "power": 20.0}
MAX_ON_FAILURE_COST = 0.02
MAX_START_SECONDS = 2.0
MAX_BACKLOG_COST = 0.10


class Gateway:
    """A gateway. `mode` is the key `queue` of its source.

    Its stores are on disk, or in `servers`: the ports of Redis and NATS.
    """

    def __init__(self, workspace, upstream, mode, durability="process", stores=None, servers=None):
        self.port, self.admin = free_port(), free_port()
        self.stores = stores or workspace.dir / f"stores-{self.port}"
        queue = "" if mode == "off" else (
            f'[queue]\nstore = "disk"\npath = "{self.stores}/queue"\n'
            f'durability = "{durability}"\nmax_bytes = "1TiB"\nmax_bytes_per_source = "1TiB"\n')
        replay = (f'store = "disk"\npath = "{self.stores}/replay"\n'
                  f'durability = "{durability}"\nmax_entries = 20000000\n')
        if servers:
            redis, nats = servers
            replay = f'store = "redis"\nurl = "redis://127.0.0.1:{redis}"\n'
            queue = f'[queue]\nstore = "nats"\nurl = "nats://127.0.0.1:{nats}"\n'
        source = "" if mode == "off" else (
            f'queue = "{mode}"\n'
            f'retry = {{ first = "1s", factor = 1, max = "1s", give_up = "72h" }}\n')
        config = workspace.write(f"queue-{self.port}.toml", (
            f'[server]\nlisten = ["127.0.0.1:{self.port}"]\nadmin = "127.0.0.1:{self.admin}"\n'
            f'access_log = "off"\n[replay]\n{replay}{queue}'
            f'[upstreams.app]\nservers = ["127.0.0.1:{upstream}"]\n'
            f'[[sources]]\nname = "bench"\npath = "/hooks"\nupstream = "app"\n'
            f'provider = "standard-webhooks"\nsecrets = ["env:SECRET"]\n{source}'))
        environment = {"HOOKGATE_LOG": "error", "SECRET": SECRET}
        started = time.monotonic()
        self.process = Process([str(BIN / "hookgate"), "run", "--config", str(config)],
                               environment, "0,1", self.port, workspace.dir / f"{self.port}.log")
        self.start_seconds = time.monotonic() - started

    def pid(self):
        """Returns the process id."""
        return self.process.process.pid

    def waiting(self):
        """Returns the number of deliveries that wait or are in flight."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics") as response:
            lines = response.read().decode().splitlines()
        counted = [line for line in lines if line.startswith("hookgate_queue_deliveries{")
                   and 'state="delivered"' not in line]
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in counted)

    def stop(self, delete=True):
        """Ends the gateway, and deletes its stores."""
        self.process.process.send_signal(signal.SIGTERM)
        self.process.process.wait(60)
        self.process.stop()
        if delete:
            shutil.rmtree(self.stores, ignore_errors=True)


def send(gateway, workspace, count, *options):
    """Sends `count` deliveries. Returns their number a second, and the response times in ms."""
    figures = load(SYSTEM, gateway.process, workspace, BODY, count, CONNECTIONS, *options)
    return {"per_second": figures["count"] / figures["seconds"],
            "p50_ms": figures["p50_us"] / 1000, "p99_ms": figures["p99_us"] / 1000}


def median(values, key):
    """Returns the median of one figure."""
    return statistics.median(value[key] for value in values)


def naive_sqlite(workspace, durability, count):
    """Returns how many bodies a second SQLite stores with one transaction for each."""
    path = workspace.dir / f"naive-{durability}.db"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
    database.execute("CREATE TABLE deliveries (id INTEGER PRIMARY KEY, body BLOB)")
    body = os.urandom(BODY)
    started = time.monotonic()
    for _ in range(count):
        database.execute("INSERT INTO deliveries (body) VALUES (?)", (body,))
    seconds = time.monotonic() - started
    database.close()
    path.unlink()
    return count / seconds


def one_sync_each(workspace, count):
    """Returns how many bodies a second a file takes with one fdatasync for each."""
    path, body = workspace.dir / "synced", os.urandom(BODY)
    with path.open("wb", buffering=0) as file:
        started = time.monotonic()
        for _ in range(count):
            file.write(body)
            os.fdatasync(file.fileno())
        seconds = time.monotonic() - started
    path.unlink()
    return count / seconds


def measure_storing(workspace, upstream, options):
    """Measures `always` with an upstream that is well and one that is down, for each durability."""
    down = free_port()
    rows = {}
    for durability in DURABILITIES:
        systems = {
            "no queue, forwarded": Gateway(workspace, upstream, "off", durability),
            "always, upstream well": Gateway(workspace, upstream, "always", durability),
            "always, upstream down": Gateway(workspace, down, "always", durability)}
        figures = {name: [] for name in systems}
        naive, synced = [], []
        try:
            for gateway in systems.values():
                send(gateway, workspace, 500)
            for number in range(options.rounds):
                for name in list(systems)[::-1 if number % 2 else 1]:
                    gateway = systems[name]
                    # The kernel still writes what earlier systems have stored, which would count
                    # for this one.
                    os.sync()
                    full = send(gateway, workspace, options.count)
                    rate = max(full["per_second"] / 2, 1)
                    half = send(gateway, workspace, options.count // 2, "--rate", rate)
                    figures[name].append({**full, "half_p50_ms": half["p50_ms"],
                                          "half_p99_ms": half["p99_ms"]})
                naive.append(naive_sqlite(workspace, durability, options.count // 10))
                synced.append(one_sync_each(workspace, options.count // 10))
        finally:
            for gateway in systems.values():
                gateway.stop()
        for name, values in figures.items():
            rows[durability, name] = {key: median(values, key) for key in values[0]}
        rows[durability, "SQLite, one transaction each"] = {"per_second": statistics.median(naive)}
        rows[durability, "file, one fdatasync each"] = {"per_second": statistics.median(synced)}
    return rows


def measure_jetstream(workspace, options):
    """Measures `always` with a queue in NATS JetStream, and claims in Redis. The upstream is down."""
    redis_port, nats_port = free_port(), free_port()
    redis = Process(["redis-server", "--port", str(redis_port), "--save", "", "--maxmemory-policy",
                     "noeviction"], {}, "0,1", redis_port, workspace.dir / "redis.log")
    settings = workspace.write("nats.conf", (
        f'listen: "127.0.0.1:{nats_port}"\nmax_payload: 2MB\n'
        f'jetstream {{ store_dir: "{workspace.dir}/jetstream" }}\n'))
    nats = Process(["nats-server", "--config", str(settings)], {}, "0,1", nats_port,
                   workspace.dir / "nats.log")
    gateway = None
    try:
        gateway = Gateway(workspace, free_port(), "always", servers=(redis_port, nats_port))
        # An empty store refuses what was signed in the second of its first use.
        time.sleep(2)
        send(gateway, workspace, 500)
        figures = []
        for _ in range(options.rounds):
            full = send(gateway, workspace, options.count)
            half = send(gateway, workspace, options.count // 2, "--rate",
                        max(full["per_second"] / 2, 1))
            figures.append({**full, "half_p50_ms": half["p50_ms"], "half_p99_ms": half["p99_ms"]})
    finally:
        for process in filter(None, (gateway, nats, redis)):
            process.stop()
    return {key: median(figures, key) for key in figures[0]}


def measure_on_failure(workspace, upstream, options):
    """Returns the ratio of the CPU time of a delivery with `on_failure` and without a queue."""
    gateways = {mode: Gateway(workspace, upstream, mode) for mode in ("off", "on_failure")}
    costs = {mode: [] for mode in gateways}
    try:
        for gateway in gateways.values():
            measure(SYSTEM, gateway.process, workspace, BODY, 500, CONNECTIONS)
        # Many short rounds, because the CPU time of a delivery changes from second to second.
        for number in range(options.rounds * SHORT_ROUNDS):
            for mode in list(gateways)[::-1 if number % 2 else 1]:
                figures = measure(SYSTEM, gateways[mode].process, workspace, BODY,
                                  options.count // SHORT_ROUNDS, CONNECTIONS)
                costs[mode].append(figures["cpu_us"])
    finally:
        for gateway in gateways.values():
            gateway.stop()
    medians = {mode: statistics.median(values) for mode, values in costs.items()}
    ratio = statistics.median(on / off for on, off in zip(costs["on_failure"], costs["off"]))
    return medians, ratio


def folder_bytes(folder):
    """Returns the size of the files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def measure_backlog(workspace, options):
    """Fills a queue whose upstream is down, restarts the gateway, and drains the queue."""
    port = free_port()
    gateway = Gateway(workspace, port, "always")
    stores, figures = gateway.stores, {}
    # The first deliveries fill the caches, so they do not count as an empty queue.
    send(gateway, workspace, 500)
    empty = [send(gateway, workspace, options.count) for _ in range(options.rounds)]
    while (left := options.backlog - gateway.waiting()) > 0:
        send(gateway, workspace, min(CHUNK, left))
    full = [send(gateway, workspace, options.count) for _ in range(options.rounds)]
    for key in ("per_second", "p50_ms", "p99_ms"):
        figures[f"empty_{key}"], figures[f"full_{key}"] = median(empty, key), median(full, key)
    figures["waiting"] = waiting = gateway.waiting()
    figures["rss_mib"] = rss_mib(gateway.pid())
    gateway.stop(delete=False)
    figures["bytes_an_event"] = folder_bytes(stores / "queue") / waiting
    starts = []
    for _ in range(3):
        gateway = Gateway(workspace, port, "always", stores=stores)
        starts.append(gateway.start_seconds)
        gateway.stop(delete=False)
    figures["start_seconds"] = statistics.median(starts)
    control = Gateway(workspace, port, "always")
    figures["empty_start_seconds"] = control.start_seconds
    control.stop()

    gateway = Gateway(workspace, port, "always", stores=stores)
    upstream = start_upstream(workspace, port)
    try:
        deadline = time.monotonic() + DRAIN_TIMEOUT
        # The breaker closes after its first probe, which is no part of the drain.
        while gateway.waiting() > waiting * 0.99:
            time.sleep(0.05)
        first, started = gateway.waiting(), time.monotonic()
        while (left := gateway.waiting()) > waiting * 0.01:
            if time.monotonic() > deadline:
                raise SystemExit(f"{left} deliveries still wait after {DRAIN_TIMEOUT} s")
            time.sleep(0.05)
        figures["drained_per_second"] = (first - left) / (time.monotonic() - started)
    finally:
        upstream.stop()
        gateway.stop()
    return figures


def render(storing, jetstream, on_failure, backlog, options):
    """Returns the record as Markdown, and the missed targets."""
    date = datetime.date.today().isoformat()
    out = [f"# The queue, {date}", "",
           f"`make bench-queue` on {machine()}, commit {commit()}: {options.rounds} rounds of "
           f"{options.count} deliveries of 1 KiB over {CONNECTIONS} connections. The gateway and the "
           "load generator share two cores. All times are medians of the rounds.", "",
           "## Storing", "",
           "The ratio is that to SQLite with one transaction for each delivery. JetStream is one "
           "`nats-server`, which syncs its files every two minutes; a Redis without a file has the "
           "claims. Both share the two cores.", "",
           "| durability | system | deliveries/s | ratio | p50 | p99 | p50 at half load | "
           "p99 at half load |", "|---|---|---|---|---|---|---|---|"]
    missed = []
    storing["process", "always in JetStream, upstream down"] = jetstream
    for (durability, name), row in storing.items():
        naive = storing[durability, "SQLite, one transaction each"]["per_second"]
        times = [f"{row[key]:.2f} ms" if key in row else ""
                 for key in ("p50_ms", "p99_ms", "half_p50_ms", "half_p99_ms")]
        out.append("| " + " | ".join([durability, name, f"{row['per_second']:.0f}",
                                      f"{row['per_second'] / naive:.2f}", *times]) + " |")
    for durability in DURABILITIES:
        row = storing[durability, "always, upstream down"]
        if row["half_p99_ms"] > MAX_P99_MS[durability]:
            missed.append(f"p99 with {durability}: {row['half_p99_ms']:.2f} ms")
    stored = storing["process", "always, upstream down"]["per_second"]
    if stored < MIN_STORED_PER_SECOND:
        missed.append(f"{stored:.0f} stored deliveries a second")
    if jetstream["per_second"] < MIN_STORED_PER_SECOND_JETSTREAM:
        missed.append(f"{jetstream['per_second']:.0f} deliveries a second in JetStream")

    medians, ratio = on_failure
    out += ["", "## `on_failure` while the upstream is well", "",
            "The figure is the CPU time of the whole gateway process for each delivery.", "",
            "| queue | CPU time of a delivery | ratio |", "|---|---|---|",
            f"| off | {medians['off']:.1f} µs | 1.000 |",
            f"| on_failure | {medians['on_failure']:.1f} µs | {ratio:.3f} |"]
    if ratio > 1 + MAX_ON_FAILURE_COST:
        missed.append(f"on_failure costs {ratio:.3f}")

    slower = 1 - backlog["full_per_second"] / backlog["empty_per_second"]
    out += ["", f"## A backlog of {backlog['waiting']} deliveries", "",
            "| figure | empty queue | backlog | ratio |", "|---|---|---|---|",
            comparison("stored deliveries/s", backlog, "per_second", "{:.0f}"),
            comparison("p50", backlog, "p50_ms", "{:.2f} ms"),
            comparison("p99", backlog, "p99_ms", "{:.2f} ms"),
            f"| start | {backlog['empty_start_seconds']:.2f} s | {backlog['start_seconds']:.2f} s | "
            f"{backlog['start_seconds'] / backlog['empty_start_seconds']:.2f} |", "",
            f"* {backlog['bytes_an_event']:.0f} bytes on disk for each delivery of 1 KiB.",
            f"* {backlog['drained_per_second']:.0f} deliveries a second drained.",
            f"* {backlog['rss_mib']:.0f} MiB peak memory."]
    if slower > MAX_BACKLOG_COST:
        missed.append(f"a backlog slows new deliveries by {slower:.0%}")
    if backlog["start_seconds"] > MAX_START_SECONDS:
        missed.append(f"start with a backlog: {backlog['start_seconds']:.2f} s")
    out += ["", "Missed targets: " + ("; ".join(missed) if missed else "none") + "."]
    return "\n".join(out) + "\n", missed


def comparison(title, backlog, key, form):
    """Returns a row that compares a queue with a backlog to an empty one."""
    empty, full = backlog[f"empty_{key}"], backlog[f"full_{key}"]
    return f"| {title} | {form.format(empty)} | {form.format(full)} | {full / empty:.2f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--backlog", type=int, default=1_000_000)
    parser.add_argument("--record", type=pathlib.Path, help="Markdown file to write")
    parser.add_argument("--quick", action="store_true", help="few deliveries, no targets")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.count, options.backlog = 1, 1000, 3000
    workspace = Workspace()
    touch_memory()
    upstream = start_upstream(workspace)
    try:
        storing = measure_storing(workspace, upstream.port, options)
        jetstream = measure_jetstream(workspace, options)
        on_failure = measure_on_failure(workspace, upstream.port, options)
        backlog = measure_backlog(workspace, options)
    finally:
        upstream.stop()
        shutil.rmtree(workspace.dir, ignore_errors=True)
    page, missed = render(storing, jetstream, on_failure, backlog, options)
    print(page)
    if options.record:
        options.record.write_text(page)
    return int(bool(missed) and not options.quick)


if __name__ == "__main__":
    sys.exit(main())
