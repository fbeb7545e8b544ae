"""The systems under comparison: their configuration, how they start, and how they stop.

A new competitor goes into `systems`. Its configuration file goes into the folder `systems`.
"""

import base64
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BIN = ROOT / "target" / "release"
PEERS = ROOT / "target" / "compare"
# The same secret as in benches/src/lib.rs.
SECRET = "whsec_YmVuY2htYXJrcy1vZi1ob29rZ2F0ZQ=="
START_TIMEOUT = 20


def fill_template(name, **values):
    """Returns the configuration file `name` with each `@KEY@` replaced by its value."""
    out = (HERE / "systems" / name).read_text()
    for key, value in values.items():
        out = out.replace(f"@{key.upper()}@", str(value))
    return out


def free_port():
    """Returns a TCP port that no process uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Workspace:
    """A temporary folder for the files of one run, with a certificate for localhost."""

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
        """Writes a file and returns its path."""
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path


class System:
    """A system that receives deliveries.

    `verifies` is None, "mac" (a MAC of the body), "signature" (also the timestamp), or "all"
    (also replay protection). `forwards` says whether the system has an upstream. `command`
    returns the command line for a port and an upstream port. `max_len` is the largest body that
    the system can verify. `forged_status` is its response to a forged delivery, or None if it
    verifies nothing.
    """

    def __init__(self, name, verifies, forwards, command, env=None, max_len=1 << 30,
                 tls=False, path="/hooks", forged_status=None):
        self.name, self.verifies, self.forwards = name, verifies, forwards
        self.command, self.env, self.max_len = command, env or {}, max_len
        self.tls, self.path, self.forged_status = tls, path, forged_status


class Process:
    """A running system, pinned to one core."""

    def __init__(self, command, env, core, port, log):
        self.port, self.log = port, log
        environment = {**os.environ, **env, "PORT": str(port)}
        self.process = subprocess.Popen(
            ["taskset", "-c", str(core), *command], env=environment,
            stdout=log.open("ab"), stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT
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
        """Kills the system and its child processes."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def start_upstream(workspace, port=None):
    """Starts the upstream: nginx, which responds 200 to every request."""
    port = port or free_port()
    folder = workspace.dir / f"upstream-{port}"
    folder.mkdir()
    content = fill_template("nginx.conf", dir=folder, port=port, upstream=port,
                            server="location / { return 200; }", http="", modules="", tls="",
                            certificate="")
    config = workspace.write(f"{folder.name}/nginx.conf", content)
    command = ["nginx", "-p", str(folder), "-c", str(config)]
    return Process(command, {}, 1, port, workspace.dir / "upstream.log")


def nginx(workspace, name, server, http="", modules="", tls=False):
    def command(port, upstream):
        folder = workspace.dir / name / str(port)
        folder.mkdir(parents=True, exist_ok=True)
        certificate = f"ssl_certificate {workspace.cert}; ssl_certificate_key {workspace.key};"
        config = fill_template("nginx.conf", dir=folder, port=port, upstream=upstream,
                               server=server, http=http, modules=modules,
                               tls="ssl" if tls else "", certificate=certificate if tls else "")
        path = folder / "nginx.conf"
        path.write_text(config)
        return ["nginx", "-p", str(folder), "-c", str(path)]
    return command


def haproxy(workspace, verify="", tls=False):
    def command(port, upstream):
        bind = f"ssl crt {workspace.dir / 'both.pem'}" if tls else ""
        config = fill_template("haproxy.cfg", port=port, upstream=upstream, verify=verify, tls=bind)
        return ["haproxy", "-db", "-f", str(workspace.write(f"haproxy-{port}.cfg", config))]
    return command


def gateway(workspace, tls=False):
    def command(port, upstream):
        listen = f'listen = ["127.0.0.1:{port}"]\n'
        tls_table = (f'[[server.tls]]\nlisten = "127.0.0.1:{port}"\ncert = "{workspace.cert}"\n'
                     f'key = "{workspace.key}"\n')
        config = (
            f'[server]\naccess_log = "off"\n{"" if tls else listen}'
            f'admin = "127.0.0.1:{free_port()}"\n'
            f'{tls_table if tls else ""}'
            f'[replay]\nmax_entries = 20000000\nboot_fence = false\n'
            f'[limits]\nbody = "8MiB"\n'
            f'refused_per_minute = {{ address = 4000000000, source = 4000000000 }}\n'
            f'[upstreams.app]\nservers = ["127.0.0.1:{upstream}"]\n'
            f'[[sources]]\nname = "bench"\npath = "/hooks"\nupstream = "app"\n'
            f'provider = "standard-webhooks"\nsecrets = ["env:SECRET"]\n')
        path = workspace.write(f"gateway-{port}.toml", config)
        return [str(BIN / "hookgate"), "run", "--config", str(path)]
    return command


def pingora(workspace, tls=False):
    def command(port, upstream):
        files = [str(workspace.cert), str(workspace.key)] if tls else []
        return [str(BIN / "stock_pingora"), f"127.0.0.1:{port}", f"127.0.0.1:{upstream}", *files]
    return command


def axum(kind):
    return lambda port, _: [str(BIN / "axum_receiver"), kind, f"127.0.0.1:{port}"]


def systems(workspace):
    """Returns every system of the comparison. A peer is measured over plain TCP, then over TLS."""
    forward = ("location / { proxy_pass http://app; proxy_http_version 1.1; "
               "proxy_set_header Connection ''; }")
    njs_file = workspace.write("verify.js", fill_template("verify.njs.js", secret=SECRET))
    njs_http = (f"js_path {njs_file.parent}; js_import main from verify.js; "
                "subrequest_output_buffer_size 64k;")
    njs_server = ("location /hooks { js_content main.deliver; } location /app { internal; "
                  "proxy_pass http://app; proxy_http_version 1.1; "
                  "proxy_set_header Connection ''; }")
    njs_module = "load_module /usr/lib/nginx/modules/ngx_http_js_module.so;"
    key = base64.b64encode(SECRET.encode()).decode()
    hmac = (f'option http-buffer-request\n'
            f'  http-request set-var(txn.key) str("{key}")\n'
            f'  http-request set-var(txn.mac) req.body,hmac(sha256,txn.key),hex,lower\n'
            f'  http-request set-var(txn.sig) "req.hdr(x-hub-signature-256),regsub(^sha256=,)"\n'
            f'  http-request deny deny_status 401 unless {{ var(txn.mac),strcmp(txn.sig) eq 0 }}')
    hook = workspace.write("hooks.json", json.dumps([{
        "id": "hooks", "execute-command": "/bin/true", "response-message": "",
        "trigger-rule": {"match": {"type": "payload-hmac-sha256", "secret": SECRET,
                                   "parameter": {"source": "header",
                                                 "name": "X-Hub-Signature-256"}}},
        "trigger-rule-mismatch-http-response-code": 401}]))
    env = {"HOOKGATE_LOG": "warn", "SECRET": SECRET}

    def fastapi(port, _):
        return [str(PEERS / "python" / "bin" / "uvicorn"), "--app-dir", str(HERE / "systems"),
                "--log-level", "error", "--host", "127.0.0.1", "--port", str(port), "receiver:app"]

    def webhook(port, _):
        return ["webhook", "-hooks", str(hook), "-ip", "127.0.0.1", "-port", str(port)]

    return [
        System("hookgate", "all", True, gateway(workspace), env, forged_status=401),
        System("stock pingora", None, True, pingora(workspace)),
        System("nginx", None, True, nginx(workspace, "nginx", forward)),
        System("HAProxy", None, True, haproxy(workspace)),
        System("HAProxy with hmac", "mac", True, haproxy(workspace, hmac), max_len=8192,
               forged_status=401),
        System("nginx with njs", "mac", True,
               nginx(workspace, "njs", njs_server, njs_http, njs_module), forged_status=401),
        System("tower-hookgate in axum", "all", False, axum("hookgate"), forged_status=401),
        System("standardwebhooks in axum", "signature", False, axum("standardwebhooks"),
               forged_status=401),
        System("standardwebhooks in express", "signature", False,
               lambda port, _: ["node", str(PEERS / "node" / "receiver.js")],
               {"SECRET": SECRET}, forged_status=401),
        System("standardwebhooks in FastAPI", "signature", False, fastapi, {"SECRET": SECRET},
               forged_status=401),
        System("webhook (Debian)", "mac", False, webhook, path="/hooks/hooks", forged_status=500),
        System("hookgate TLS", "all", True, gateway(workspace, tls=True), env, tls=True,
               forged_status=401),
        System("stock pingora TLS", None, True, pingora(workspace, tls=True), tls=True),
        System("nginx TLS", None, True, nginx(workspace, "nginx-tls", forward, tls=True), tls=True),
        System("HAProxy TLS", None, True, haproxy(workspace, tls=True), tls=True),
    ]
