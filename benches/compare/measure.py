"""Measures the CPU time, memory, and latency of a running system, and describes the machine.

The CPU time of a system is that of every thread of its processes, from
/proc/PID/task/*/schedstat. On a shared machine it varies less than throughput.
"""

import json
import mmap
import os
import pathlib
import platform
import subprocess
import sys

from systems import BIN, ROOT

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# How often a measurement is repeated after a wrong response of a peer.
MAX_REPEATS = 2


def pids(root):
    """Returns the process `root` and its descendants."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children.get(pid, [])
    return found


def cpu_seconds(root):
    """Returns the CPU time of a process and its descendants."""
    nanoseconds, ticks = 0, 0
    for pid in pids(root):
        try:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                nanoseconds += int((task / "schedstat").read_text().split()[0])
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        # The time of children that have exited, because webhook starts a program per delivery.
        ticks += sum(int(field) for field in fields[13:15])
    return nanoseconds / 1e9 + ticks / TICKS_PER_SECOND


def rss_mib(root):
    """Returns the peak memory of a process and its descendants."""
    kib = 0
    for pid in pids(root):
        try:
            lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return kib / 1024


class WrongResponse(SystemExit):
    """A system sent a response with an unexpected status."""


def load(system, process, workspace, size, count, connections, *options):
    """Sends `count` deliveries with the load generator, which checks every status."""
    command = ["taskset", "-c", "1", str(BIN / "load"), "--to", f"127.0.0.1:{process.port}",
               "--path", system.path, "--len", str(size), "--count", str(count),
               "--connections", str(connections), *map(str, options)]
    if system.tls:
        command += ["--ca", str(workspace.cert)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise WrongResponse(
            f"{system.name}, {size} B: {done.stderr}{process.log.read_text()[-2000:]}")
    return json.loads(done.stdout)


def measure(system, process, workspace, size, count, connections, *options):
    """Sends `count` deliveries and returns the figures of the system."""
    before = cpu_seconds(process.process.pid)
    figures = load(system, process, workspace, size, count, connections, *options)
    figures["cpu_us"] = (cpu_seconds(process.process.pid) - before) / count * 1e6
    figures["rss_mib"] = rss_mib(process.process.pid)
    figures["per_second"] = figures["count"] / figures["seconds"]
    return {figure: round(value, 3) for figure, value in figures.items()}


def measure_with_repeats(system, repeats, *arguments):
    """Measures a system, and repeats the measurement after a wrong response of a peer.

    Some peers respond wrongly once in some ten thousand deliveries. `repeats` counts these
    measurements for the record. A wrong response of hookgate ends the run.
    """
    for _ in range(MAX_REPEATS):
        try:
            return measure(system, *arguments)
        except WrongResponse as error:
            if system.name.startswith("hookgate"):
                raise
            print(error, file=sys.stderr)
            repeats[system.name] = repeats.get(system.name, 0) + 1
    return measure(system, *arguments)


def touch_memory():
    """Touches half of the available memory.

    A virtual machine gets a page from its host at the first access, which takes milliseconds.
    After this call, that time is not part of a measurement.
    """
    lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    size = min(available * 1024 // 2, 8 << 30)
    with mmap.mmap(-1, size) as memory:
        for page in range(0, size, mmap.PAGESIZE):
            memory[page] = 1


def machine():
    """Returns the CPU model, the number of cores, and the kernel."""
    model = next((line.split(":", 1)[1].strip() for line in
                  pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}"


def versions():
    """Returns the versions of the peers that come from packages."""
    def first_line(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        return (done.stdout + done.stderr).strip().splitlines()[0]
    return {"nginx": first_line("nginx", "-v"), "HAProxy": first_line("haproxy", "-v"),
            "node": first_line("node", "--version"),
            "Python": first_line(sys.executable, "--version")}


def commit():
    """Returns the abbreviated commit of the checkout."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True,
                          text=True)
    return done.stdout.strip()
