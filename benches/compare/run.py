#!/usr/bin/env python3
"""Compares what a delivery costs: this gateway and layer beside the systems that people
use instead. Starts every system from packages, checks that each answers a good and a
forged delivery as it should, measures them in turn, several rounds, and writes a record.

The figure is the CPU time of the system's processes (that of their threads, of
/proc/PID/task/*/schedstat) over the deliveries it has answered: it is steadier than throughput on a
shared machine. Absolute times differ between machines, so what counts are ratios within
one run. Systems have one core, the load and the upstream the other.
"""

import argparse
import base64
import datetime
import json
import mmap
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BIN = ROOT / "target" / "release"
PEERS = ROOT / "target" / "compare"
# As in benches/src/lib.rs.
SECRET = "whsec_YmVuY2htYXJrcy1vZi1ob29rZ2F0ZQ=="
TICK = os.sysconf("SC_CLK_TCK")
# How often a measurement of a peer that answers wrongly is made again.
AGAIN = 2
# Bytes of a body: deliveries a round, connections. Short: what else the machine has to do
# falls on one system or another, and is gone in the next round.
SIZES = {1024: (10_000, 32), 65_536: (1_500, 16), 1_048_576: (160, 16)}


def text(name, **values):
    out = (HERE / "systems" / name).read_text()
    for key, value in values.items():
        out = out.replace(f"@{key.upper()}@", str(value))
    return out


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Site:
    """A folder for the files of one run, with a certificate for localhost."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="hookgate-compare-"))
        self.key, self.cert = self.dir / "tls.key", self.dir / "tls.crt"
        make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                "-addext", "basicConstraints=critical,CA:FALSE",
                "-keyout", self.key, "-out", self.cert]
        subprocess.run(make, check=True, stderr=subprocess.DEVNULL)
        (self.dir / "both.pem").write_bytes(self.cert.read_bytes() + self.key.read_bytes())

    def write(self, name, content):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path


class System:
    """One way to receive deliveries.

    verifies: nothing, "mac" (of the body, and no more), "signature" (with the
    timestamp), or "all" (each event once, too). forwards: whether there is an upstream.
    """

    def __init__(self, name, verifies, forwards, command, env=None, most=1 << 30,
                 tls=False, path="/hooks", forged=None):
        self.name, self.verifies, self.forwards = name, verifies, forwards
        self.command, self.env, self.most = command, env or {}, most
        self.tls, self.path, self.forged = tls, path, forged


def systems(site):
    def nginx(name, server, http="", modules="", tls=False):
        def command(port, upstream):
            where = site.dir / name / str(port)
            where.mkdir(parents=True, exist_ok=True)
            certificate = f"ssl_certificate {site.cert}; ssl_certificate_key {site.key};"
            config = text("nginx.conf", dir=where, port=port, upstream=upstream, server=server,
                          http=http, modules=modules, tls="ssl" if tls else "",
                          certificate=certificate if tls else "")
            path = where / "nginx.conf"
            path.write_text(config)
            return ["nginx", "-p", str(where), "-c", str(path)]
        return command

    def haproxy(verify="", tls=False):
        def command(port, upstream):
            bind = f"ssl crt {site.dir / 'both.pem'}" if tls else ""
            config = text("haproxy.cfg", port=port, upstream=upstream, verify=verify, tls=bind)
            return ["haproxy", "-db", "-f", str(site.write(f"haproxy-{port}.cfg", config))]
        return command

    def gateway(tls=False):
        def command(port, upstream):
            listen = f'listen = ["127.0.0.1:{port}"]\n'
            secure = (f'[[server.tls]]\nlisten = "127.0.0.1:{port}"\ncert = "{site.cert}"\n'
                      f'key = "{site.key}"\n')
            config = (
                f'[server]\naccess_log = "off"\n{"" if tls else listen}admin = "127.0.0.1:{free_port()}"\n'
                f'{secure if tls else ""}'
                f'[replay]\nmax_entries = 20000000\nboot_fence = false\n'
                f'[limits]\nbody = "8MiB"\n'
                f'refused_per_minute = {{ address = 4000000000, source = 4000000000 }}\n'
                f'[upstreams.app]\nservers = ["127.0.0.1:{upstream}"]\n'
                f'[[sources]]\nname = "bench"\npath = "/hooks"\nupstream = "app"\n'
                f'provider = "standard-webhooks"\nsecrets = ["env:SECRET"]\n')
            path = site.write(f"gateway-{port}.toml", config)
            return [str(BIN / "hookgate"), "run", "--config", str(path)]
        return command

    def pingora(tls=False):
        def command(port, upstream):
            files = [str(site.cert), str(site.key)] if tls else []
            return [str(BIN / "stock_pingora"), f"127.0.0.1:{port}", f"127.0.0.1:{upstream}", *files]
        return command

    pass_on = "location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ''; }"
    njs_file = site.write("verify.js", text("verify.njs.js", secret=SECRET))
    njs_http = f"js_path {njs_file.parent}; js_import main from verify.js; subrequest_output_buffer_size 64k;"
    njs_server = ("location /hooks { js_content main.deliver; } location /app { internal; "
                  "proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ''; }")
    njs_module = "load_module /usr/lib/nginx/modules/ngx_http_js_module.so;"
    key = base64.b64encode(SECRET.encode()).decode()
    hmac = (f'option http-buffer-request\n'
            f'  http-request set-var(txn.key) str("{key}")\n'
            f'  http-request set-var(txn.mac) req.body,hmac(sha256,txn.key),hex,lower\n'
            f'  http-request set-var(txn.sig) "req.hdr(x-hub-signature-256),regsub(^sha256=,)"\n'
            f'  http-request deny deny_status 401 unless {{ var(txn.mac),strcmp(txn.sig) eq 0 }}')
    hook = site.write("hooks.json", json.dumps([{
        "id": "hooks", "execute-command": "/bin/true", "response-message": "",
        "trigger-rule": {"match": {"type": "payload-hmac-sha256", "secret": SECRET,
                                   "parameter": {"source": "header",
                                                 "name": "X-Hub-Signature-256"}}},
        "trigger-rule-mismatch-http-response-code": 401}]))
    quiet = {"HOOKGATE_LOG": "warn", "SECRET": SECRET}
    return [
        System("hookgate", "all", True, gateway(), quiet, forged=401),
        System("stock pingora", None, True, pingora()),
        System("nginx", None, True, nginx("nginx", pass_on)),
        System("HAProxy", None, True, haproxy()),
        System("HAProxy with hmac", "mac", True, haproxy(hmac), most=8192, forged=401),
        System("nginx with njs", "mac", True, nginx("njs", njs_server, njs_http, njs_module),
               forged=401),
        System("tower-hookgate in axum", "all", False,
               lambda port, _: [str(BIN / "axum_receiver"), "hookgate", f"127.0.0.1:{port}"],
               forged=401),
        System("standardwebhooks in axum", "signature", False,
               lambda port, _: [str(BIN / "axum_receiver"), "standardwebhooks",
                                f"127.0.0.1:{port}"], forged=401),
        System("standardwebhooks in express", "signature", False,
               lambda port, _: ["node", str(PEERS / "node" / "receiver.js")],
               {"SECRET": SECRET}, forged=401),
        System("standardwebhooks in FastAPI", "signature", False,
               lambda port, _: [str(PEERS / "python" / "bin" / "uvicorn"), "--app-dir",
                                str(HERE / "systems"), "--log-level", "error", "--host",
                                "127.0.0.1", "--port", str(port), "receiver:app"],
               {"SECRET": SECRET}, forged=401),
        System("webhook (Debian)", "mac", False,
               lambda port, _: ["webhook", "-hooks", str(hook), "-ip", "127.0.0.1", "-port",
                                str(port)], path="/hooks/hooks", forged=500),
        System("hookgate TLS", "all", True, gateway(tls=True), quiet, tls=True, forged=401),
        System("stock pingora TLS", None, True, pingora(tls=True), tls=True),
        System("nginx TLS", None, True, nginx("nginx-tls", pass_on, tls=True), tls=True),
        System("HAProxy TLS", None, True, haproxy(tls=True), tls=True),
    ]


def pids(root):
    """The process and all below it."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_seconds(root):
    nanoseconds, ticks = 0, 0
    for pid in pids(root):
        try:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                nanoseconds += int((task / "schedstat").read_text().split()[0])
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        # Of children that have ended, in ticks: webhook starts a program a delivery.
        ticks += sum(int(field) for field in fields[13:15])
    return nanoseconds / 1e9 + ticks / TICK


def rss_mib(root):
    kib = 0
    for pid in pids(root):
        try:
            lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return kib / 1024


class WrongAnswer(SystemExit):
    """A system has answered otherwise than it should."""


class Running:
    """A system under way, on a core of its own."""

    def __init__(self, command, env, core, port, log):
        self.port, self.log = port, log
        environment = {**os.environ, **env, "PORT": str(port)}
        self.process = subprocess.Popen(
            ["taskset", "-c", str(core), *command], env=environment,
            stdout=log.open("ab"), stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise SystemExit(f"{' '.join(command)} does not start:\n{log.read_text()}")
                time.sleep(0.05)

    def stop(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def load(system, running, site, size, count, connections, *options):
    command = ["taskset", "-c", "1", str(BIN / "load"), "--to", f"127.0.0.1:{running.port}",
               "--path", system.path, "--len", str(size), "--count", str(count),
               "--connections", str(connections), *map(str, options)]
    if system.tls:
        command += ["--ca", str(site.cert)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise WrongAnswer(f"{system.name}, {size} B: {done.stderr}{running.log.read_text()[-2000:]}")
    return json.loads(done.stdout)


def measure(system, running, site, size, count, connections, *options):
    before = cpu_seconds(running.process.pid)
    told = load(system, running, site, size, count, connections, *options)
    told["cpu_us"] = (cpu_seconds(running.process.pid) - before) / count * 1e6
    told["rss_mib"] = rss_mib(running.process.pid)
    told["per_second"] = told["count"] / told["seconds"]
    return {figure: round(value, 3) for figure, value in told.items()}


def measure_again(system, repeated, *how):
    """Likewise. Of a peer that answers wrongly once in some ten thousand deliveries the
    measurement is made again, and the record says so; of hookgate such an answer ends all."""
    for _ in range(AGAIN):
        try:
            return measure(system, *how)
        except WrongAnswer as wrong:
            if system.name.startswith("hookgate"):
                raise
            print(wrong, file=sys.stderr)
            repeated[system.name] = repeated.get(system.name, 0) + 1
    return measure(system, *how)


def install(options):
    """What packages give."""
    wanted = {"nginx": "nginx", "haproxy": "haproxy", "webhook": "webhook", "node": "nodejs",
              "npm": "npm", "openssl": "openssl", "taskset": "util-linux"}
    missing = [package for tool, package in wanted.items() if not shutil.which(tool)]
    if not pathlib.Path("/usr/lib/nginx/modules/ngx_http_js_module.so").exists():
        missing.append("libnginx-mod-http-js")
    if missing:
        if not shutil.which("apt-get"):
            raise SystemExit(f"please install what Debian calls {' '.join(missing)}")
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
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=node, check=True)
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


def touch_memory():
    """A virtual machine gets memory from its host when it is touched for the first time, which
    holds up whoever does so for milliseconds. That is not what is measured."""
    available = next(int(line.split()[1]) for line in pathlib.Path("/proc/meminfo").read_text().splitlines()
                     if line.startswith("MemAvailable:"))
    size = min(available * 1024 // 2, 8 << 30)
    with mmap.mmap(-1, size) as memory:
        for page in range(0, size, mmap.PAGESIZE):
            memory[page] = 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", action="append", help="a system's name; may be repeated")
    parser.add_argument("--size", action="append", type=int, choices=SIZES)
    parser.add_argument("--record", type=pathlib.Path, help="where the record goes")
    parser.add_argument("--no-build", action="store_true", help="measure what is built")
    parser.add_argument("--check", action="store_true", help="check every system, measure none")
    options = parser.parse_args()
    install(options)
    touch_memory()
    site = Site()
    upstream = start_upstream(site)
    try:
        record = compare(options, site, upstream.port)
    finally:
        upstream.stop()
        shutil.rmtree(site.dir, ignore_errors=True)
    if record:
        page = render(record)
        print(page)
        if options.record:
            options.record.write_text(page)
            # Each measurement on a line of its own.
            figures = re.sub(r"\{[^{}\[\]]*\}", lambda one: " ".join(one[0].split()), json.dumps(record, indent=1))
            options.record.with_suffix(".json").write_text(figures + "\n")
            if not (options.only or options.size):
                tell(record, options.record)


def start_upstream(site):
    """nginx, which answers everything with 200."""
    port, where = free_port(), site.dir / "upstream"
    where.mkdir()
    content = text("nginx.conf", dir=where, port=port, upstream=port,
                   server="location / { return 200; }", http="", modules="", tls="", certificate="")
    config = site.write("upstream/nginx.conf", content)
    command = ["nginx", "-p", str(where), "-c", str(config)]
    return Running(command, {}, 1, port, site.dir / "upstream.log")


def compare(options, site, upstream_port):
    chosen = [system for system in systems(site)
              if not options.only or system.name in options.only]
    running = {}
    results = {}
    repeated = {}
    try:
        for system in chosen:
            port = free_port()
            log = site.dir / f"{port}.log"
            running[system.name] = Running(system.command(port, upstream_port), system.env, 0,
                                           port, log)
            check(system, running[system.name], site)
            print(f"checked {system.name}", file=sys.stderr)
        if options.check:
            return None
        for round_number in range(options.rounds):
            for size, (count, connections) in SIZES.items():
                if options.size and size not in options.size:
                    continue
                for system in chosen:
                    if size > system.most:
                        continue
                    # As many of all, because connections are opened for them; but this one
                    # starts a program for each.
                    each = min(count, 500) if system.name.startswith("webhook") else count
                    told = measure_again(system, repeated, running[system.name], site, size, each,
                                         connections)
                    results.setdefault(system.name, {}).setdefault(str(size), []).append(told)
            print(f"round {round_number + 1} of {options.rounds}", file=sys.stderr)
        extras = refusals(chosen, running, site, options)
        late = tails(chosen, running, site, options, results, repeated)
    finally:
        for one in running.values():
            one.stop()
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "rounds": options.rounds,
        "repeated": repeated,
        "versions": versions(),
        "systems": {system.name: {"verifies": system.verifies, "forwards": system.forwards}
                    for system in chosen},
        "results": results,
        "refusals": extras,
        "tails": late,
    }


def commit():
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True,
                          text=True)
    return done.stdout.strip()


def check(system, running, site):
    """A good delivery passes; a forged one only where nothing is verified."""
    load(system, running, site, 1024, 4, 1)
    load(system, running, site, 1024, 4, 1, "--fault", "forged", "--expect", system.forged or 2)


def refusals(chosen, running, site, options):
    """What refusing costs, beside forwarding, in the same run."""
    system = next((system for system in chosen if system.name == "hookgate"), None)
    if system is None:
        return {}
    out = {}
    for _ in range(options.rounds):
        for name, size, fault in [("forwarded 1 KiB", 1024, None), ("forged 1 KiB", 1024, "forged"),
                                  ("stale 1 KiB", 1024, "stale"),
                                  ("stale 64 KiB", 65_536, "stale")]:
            extra = ["--fault", fault, "--expect", "401"] if fault else []
            told = measure(system, running[system.name], site, size, 5_000, 32, *extra)
            out.setdefault(name, []).append(told["cpu_us"])
    return out


def tails(chosen, running, site, options, results, repeated):
    """How late answers are at half of what hookgate can take, whatever the others can."""
    saturated = results.get("hookgate", {}).get("1024")
    if not saturated:
        return {}
    rate = statistics.median(told["per_second"] for told in saturated) / 2
    out = {"rate": rate, "p50_us": {}, "p99_us": {}}
    for _ in range(options.rounds):
        for system in chosen:
            if system.forwards and not system.tls:
                told = measure_again(system, repeated, running[system.name], site, 1024,
                                     int(rate), 32, "--rate", rate)
                for figure in ("p50_us", "p99_us"):
                    out[figure].setdefault(system.name, []).append(told[figure])
    return out


def machine():
    model = next((line.split(":", 1)[1].strip() for line in
                  pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}"


def versions():
    def first(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        return (done.stdout + done.stderr).strip().splitlines()[0]
    return {"nginx": first("nginx", "-v"), "HAProxy": first("haproxy", "-v"),
            "node": first("node", "--version"), "Python": first(sys.executable, "--version")}


VERIFIES = {None: "nothing", "mac": "a MAC of the body", "signature": "signature, time",
            "all": "signature, time, replay"}


def median(record, name, size, key):
    runs = record["results"].get(name, {}).get(str(size))
    return statistics.median(run[key] for run in runs) if runs else None


def ratio(ours, others):
    """Of two figures, each of the same rounds: the median of the rounds. What holds up the
    machine for a while holds up both."""
    return statistics.median(own / other for own, other in zip(ours, others))


def costs(record, name, size):
    return [run["cpu_us"] for run in record["results"].get(name, {}).get(str(size), [])]


def tell(record, path):
    """Puts the table of the README between its marks."""
    lines = ["| CPU time for each delivery, in µs | verifies | 1 KiB | 64 KiB | 1 MiB |",
             "|---|---|---|---|---|"]
    for name, about in record["systems"].items():
        if not name.endswith("TLS"):
            medians = [median(record, name, size, "cpu_us") for size in SIZES]
            cells = " | ".join("cannot" if cost is None else f"{cost:.0f}" for cost in medians)
            where = "" if about["forwards"] else "; in the receiver"
            lines.append(f"| {name} | {VERIFIES[about['verifies']]}{where} | {cells} |")
    readme = ROOT / "README.md"
    start, rest = readme.read_text().split("<!-- figures -->\n")
    _, end = rest.split("<!-- end of figures -->\n")
    told = "\n".join(lines)
    readme.write_text(f"{start}<!-- figures -->\n{told}\n\nFrom [the record of "
                      f"{record['date']}](benches/records/{path.name}), with throughput, latency "
                      f"and TLS.\n<!-- end of figures -->\n{end}")


def render(record):
    def cell(value, digits=0):
        return "cannot" if value is None else f"{value:.{digits}f}"

    lines = [
        f"# What a delivery costs: {record['date']}", "",
        f"Commit {record['commit']}; {record['machine']}. The figures are medians of "
        f"{record['rounds']} rounds, in which the systems run in turn. A ratio is the median of the "
        "ratios of the rounds. The system has one core; the load generator and the upstream (nginx) "
        "share the other.", "",
        *[f"* {name}: {version}" for name, version in record["versions"].items()],
        *[f"* {name} answered wrongly in {times} measurements, which were made again"
          for name, times in record["repeated"].items()], "",
        "CPU time of the system for each delivery, in µs. The number in brackets is hookgate's CPU "
        "time divided by this system's.",
        "",
    ]
    for tls in (False, True):
        names = [name for name in record["systems"] if name.endswith("TLS") == tls]
        if not names:
            continue
        ours = "hookgate TLS" if tls else "hookgate"
        lines += [f"## {'With TLS' if tls else 'Plain'}", "",
                  "| system | verifies | 1 KiB | 64 KiB | 1 MiB | 1 KiB a second | p50 µs | p99 µs | RSS MiB |",
                  "|---|---|---|---|---|---|---|---|---|"]
        for name in names:
            about = record["systems"][name]
            cells = []
            for size in SIZES:
                theirs, own = costs(record, name, size), costs(record, ours, size)
                if not theirs:
                    cells.append("cannot")
                    continue
                of_ours = "" if name == ours or not own or not about["forwards"] else f" ({ratio(own, theirs):.2f}×)"
                cells.append(f"{statistics.median(theirs):.0f}{of_ours}")
            verifies = VERIFIES[about["verifies"]]
            if not about["forwards"]:
                verifies += "; in the receiver"
            cells += [cell(median(record, name, 1024, "per_second")), cell(median(record, name, 1024, "p50_us")),
                      cell(median(record, name, 1024, "p99_us")), cell(median(record, name, 1024, "rss_mib"))]
            lines.append(f"| {name} | {verifies} | {' | '.join(cells)} |")
        lines.append("")
    if record["refusals"]:
        base = record["refusals"]["forwarded 1 KiB"]
        lines += ["## Refusing", "", "| delivery | µs | relative to forwarding |", "|---|---|---|"]
        for name, runs in record["refusals"].items():
            lines.append(f"| {name} | {statistics.median(runs):.1f} | {ratio(runs, base):.2f}× |")
        lines.append("")
    if record["tails"]:
        base = record["tails"]["p99_us"].get("nginx")
        lines += [f"## At {record['tails']['rate']:.0f} deliveries a second", "",
                  "Half of hookgate's maximum rate, at even intervals; bodies of 1 KiB.", "",
                  "| system | p50 µs | p99 µs | relative to nginx |", "|---|---|---|---|"]
        for name, runs in record["tails"]["p99_us"].items():
            p50, p99 = statistics.median(record["tails"]["p50_us"][name]), statistics.median(runs)
            of_nginx = f"{ratio(runs, base):.2f}×" if base else ""
            lines.append(f"| {name} | {p50:.0f} | {p99:.0f} | {of_nginx} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
