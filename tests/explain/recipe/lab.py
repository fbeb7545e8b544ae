"""Starts the receivers, proxies and databases, and sends deliveries through them.

`INSTALLED` is the folder into which install.sh puts the packages and the compiled programs.
"""

import atexit
import base64
import functools
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).parent
INSTALLED = Path(os.environ["EXPLAIN_INSTALLED"])
NODE_MODULES = INSTALLED / "node_modules"
ENVIRONMENT = os.environ | {
    "NODE_PATH": str(NODE_MODULES),
    "MONO_PATH": "/usr/lib/cli/Newtonsoft.Json-5.0",
    "LC_ALL": "C.UTF-8",
}


@functools.cache
def folder():
    """Returns a folder for the files of the servers. It is removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="explain-"))
    path.chmod(0o755)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def start(*command, **options):
    # Apache ends its process group on SIGTERM, so each server has a group of its own.
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        start_new_session=True, **options
    )
    atexit.register(stop, process)
    return process


def stop(process):
    process.stdin.close()
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()


@functools.cache
def applications():
    """Starts the applications and returns their ports by name."""
    commands = [
        (sys.executable, HERE / "receivers/python_apps.py"),
        (sys.executable, HERE / "receivers/backend.py"),
        ("node", HERE / "receivers/node_apps.cjs"),
        ("ruby", HERE / "receivers/sinatra_app.rb"),
        (INSTALLED / "receiver",),
    ]
    processes = [start(*command) for command in commands]
    ports = {}
    for process in processes:
        ports.update(json.loads(process.stdout.readline()))
    ports["php"] = free_port()
    start("php", "-d", "display_errors=stderr", "-S", f"127.0.0.1:{ports['php']}",
          HERE / "receivers/receiver.php", stderr=subprocess.DEVNULL)
    wait_for(ports["php"])
    return ports


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"no server on port {port}")


@functools.cache
def proxy(kind):
    """Starts nginx, haproxy or apache, and returns the ports of its configurations by name."""
    template = (HERE / "proxies" / kind).read_text()
    known = {"DIR": str(folder()), "HERE": str(HERE)} | applications()
    names = set(re.findall(r"@([a-z-]+)@", template)) - known.keys()
    ports = {name: free_port() for name in sorted(names)}
    config = folder() / kind
    config.write_text(re.sub(r"@([A-Za-z-]+)@", lambda m: str((known | ports)[m[1]]), template))
    command = {
        "nginx.conf": ["nginx", "-p", folder(), "-c", config],
        "haproxy.cfg": ["haproxy", "-db", "-q", "-f", config],
        "apache.conf": ["apache2", "-DFOREGROUND", "-f", config],
    }[kind]
    start(*command)
    for port in ports.values():
        wait_for(port)
    return ports


def send(port, delivery, path):
    """Sends the delivery and returns what the receiver has."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(delivery.method, path, skip_host=True, skip_accept_encoding=True)
    length = str(len(delivery.body))
    for name, value in delivery.headers:
        connection.putheader(name, length if name.lower() == "content-length" else value)
    connection.endheaders(delivery.body)
    response = connection.getresponse()
    answer = response.read()
    if response.status >= 300:
        raise RuntimeError(f"{path}: {response.status} {answer[:300]!r}")
    return json.loads(answer) if answer else None


def received(delivery, seen, url=None):
    """Returns the delivery as the receiver has it."""
    headers = tuple(
        (name, value) for name, value in seen["headers"]
        # http.server and WSGI add fields without a value.
        if value != ""
    )
    return replace(
        delivery, headers=headers, body=base64.b64decode(seen["body"]), method=seen["method"],
        url=url if url is not None else delivery.url,
    )


def app(name, kind):
    """The application `name` reads the body in the way `kind`."""

    def change(delivery):
        seen = send(applications()[name], delivery, f"/as/{kind}")
        return received(delivery, seen)

    return change


def target(delivery):
    url = delivery.url or f"https://api.example.com/hooks/{delivery.provider}"
    return re.sub(r"^https?://[^/]*", "", url) or "/"


def behind(kind, name, path=None):
    """The proxy `name` forwards the delivery. The receiver verifies with the address that it
    sees, if the scheme signs the address."""

    def change(delivery):
        seen = send(proxy(kind)[name], delivery, path or target(delivery))
        return received(delivery, seen, seen["url"] if delivery.url else None)

    return change


nginx = functools.partial(behind, "nginx.conf")
haproxy = functools.partial(behind, "haproxy.cfg")
apache = functools.partial(behind, "apache.conf")


def direct(name, path=None):
    """The application `name` verifies with the address that it sees."""

    def change(delivery):
        seen = send(applications()[name], delivery, path or target(delivery))
        return received(delivery, seen, seen["url"] if delivery.url else None)

    return change


def run(command, given=b"", **options):
    """Runs a command and returns its output."""
    done = subprocess.run(
        [str(part) for part in command], input=given, capture_output=True, env=ENVIRONMENT, **options
    )
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.decode(errors='replace')[:400]}")
    return done.stdout


def body(change):
    """Changes the body by a function of bytes."""
    return lambda delivery: replace(delivery, body=change(delivery.body))


def tool(*command):
    """The command rewrites the body."""
    return body(lambda given: run(command, given))


def java(kind):
    jars = [f"/usr/share/java/{name}.jar" for name in (
        "jackson-databind", "jackson-core", "jackson-annotations", "gson")]
    return tool("java", "-cp", ":".join([str(INSTALLED / "java"), *jars]), "Rewrite", kind)


def dotnet(kind):
    return tool("mono", INSTALLED / "Rewrite.exe", kind)


def perl(kind):
    return tool("perl", HERE / "filters/rewrite.pl", kind)


def lua():
    return tool("lua5.4", HERE / "filters/rewrite.lua")


def node(script):
    """A JavaScript function of the text of the body."""
    code = f"""
      const text = require('fs').readFileSync(0, 'utf8');
      Promise.resolve(({script})(text)).then((out) => process.stdout.write(out));
    """
    return tool("node", "-e", code)


def shell(script):
    """A script of bash with the body on its standard input."""
    return tool("bash", "-c", script)


@functools.cache
def postgres():
    """Starts PostgreSQL and returns the folder of its socket."""
    data = folder() / "postgres"
    data.mkdir()
    shutil.chown(data, "postgres")
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    initdb, = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    run([*as_postgres, initdb, "-D", data, "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust"])
    start(*as_postgres, initdb.with_name("postgres"), "-D", data, "-k", data, "-h", "",
          stderr=subprocess.DEVNULL)
    for _ in range(200):
        if any(data.glob(".s.PGSQL.*")):
            break
        time.sleep(0.05)
    time.sleep(0.5)
    return data


def sql(expression):
    """PostgreSQL computes an expression of the text `:'body'`."""

    def change(given):
        command = ["psql", "-X", "-A", "-t", "-q", "-h", postgres(), "-U", "postgres",
                   "-v", "ON_ERROR_STOP=1", "-v", "body=" + given.decode()]
        # psql adds a line feed to the value.
        return run(command, f"SELECT {expression};".encode())[:-1]

    return body(change)


def redis(script):
    """A Lua script inside of Redis computes a value from the body."""

    def change(given):
        return run(["redis-cli", "-s", redis_socket(), "--raw", "-x", "EVAL", script, 0], given)[:-1]

    return body(change)


@functools.cache
def redis_socket():
    path = folder() / "redis.sock"
    start("redis-server", "--port", "0", "--unixsocket", path, "--save", "")
    while not path.exists():
        time.sleep(0.05)
    return path
