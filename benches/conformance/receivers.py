"""Starts the receivers under test, on free ports of 127.0.0.1.

Each function here returns a function `start(secret, folder)`. That one is a context manager: it yields
the addresses of the receiver, or None if the receiver ends at its start.
"""

import contextlib
import dataclasses
import json
import os
import re
import socket
import subprocess
import time

import application

START_SECONDS = 30
LISTENING = re.compile(r"^listening on (\S+)$", re.MULTILINE)
# A line of the gateway's log, and one of Debian's webhook.
GATEWAY = re.compile(r'^(?=.*"role":"deliveries").*"address":"([^"]+)"', re.MULTILINE)
WEBHOOK = re.compile(r"serving hooks on http://([^/]+)/")
STORES = {"disk": 'store = "disk"\npath = "replay"', "memory": 'store = "memory"'}


@dataclasses.dataclass
class Running:
    """The URL of a receiver that runs, and the URL of its runs."""

    to: str
    runs: str

    @classmethod
    def at(cls, receiver, app, path="/hooks"):
        return cls(f"http://{receiver}{path}", f"http://{app}/runs/{{id}}")


@contextlib.contextmanager
def process(command, secret, folder, ready):
    """Starts a program, and yields the address that it prints. Yields None if it ends before."""
    log = folder / "log"
    with log.open("w") as output:
        child = subprocess.Popen(command, env={**os.environ, "SECRET": secret}, stdout=output,
                                 stderr=output, cwd=folder)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (found := ready.search(log.read_text(errors="replace"))):
            if child.poll() is not None:
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{command[0]} does not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield found and found[1]
    finally:
        child.kill()
        child.wait()


def program(*command):
    """A receiver that is also the application."""
    @contextlib.contextmanager
    def start(secret, folder):
        with process([str(part) for part in command], secret, folder, LISTENING) as address:
            yield address and Running.at(address, address)
    return start


def control(kind):
    """A receiver in this process that has no secret."""
    @contextlib.contextmanager
    def start(_, folder):
        with application.serve(kind) as address:
            yield Running.at(address, address)
    return start


def gateway(hookgate, provider, store):
    """The gateway with a store, in front of the application."""
    @contextlib.contextmanager
    def start(secret, folder):
        with application.serve() as app:
            (folder / "gateway.toml").write_text(
                f'[server]\nlisten = ["127.0.0.1:0"]\nadmin = "127.0.0.1:0"\n'
                f'[replay]\n{STORES[store]}\n'
                f'[upstreams.app]\nservers = ["{app}"]\n'
                f'[[sources]]\nname = "tested"\npath = "/hooks"\nprovider = "{provider}"\n'
                f'secrets = ["env:SECRET"]\nupstream = "app"\n')
            command = [hookgate, "run", "--config", "gateway.toml", "--log", "json"]
            with process(command, secret, folder, GATEWAY) as address:
                # A timestamp has whole seconds, so the fence of the memory store refuses every
                # delivery of the second in which the process starts.
                time.sleep(1 if store == "memory" else 0)
                yield address and Running.at(address, app)
    return start


def debian_webhook(binary):
    """Debian's webhook, whose command sends the event to the application."""
    @contextlib.contextmanager
    def start(secret, folder):
        with application.serve() as app:
            texts = ["--fail", "--silent", f"http://{app}/hooks", "--data-binary"]
            arguments = [{"source": "string", "name": text} for text in texts]
            (folder / "hooks.json").write_text(json.dumps([{
                "id": "hook",
                "execute-command": "curl",
                "pass-arguments-to-command": [*arguments, {"source": "entire-payload"}],
                # Without this, a command that fails is answered by 200.
                "include-command-output-in-response": True,
                "trigger-rule": {"or": [{"match": {
                    "type": "payload-hmac-sha256", "secret": secret,
                    "parameter": {"source": "header", "name": "X-Hub-Signature-256"}}}]},
                # Without these two and the rule `or`, refusals are answered by 200 and by 500.
                "trigger-rule-mismatch-http-response-code": 401,
                "trigger-signature-soft-failures": True,
            }]))
            # The program cannot choose a port itself.
            with socket.create_server(("127.0.0.1", 0)) as server:
                port = server.getsockname()[1]
            command = [binary, "-verbose", "-hooks", "hooks.json", "-ip", "127.0.0.1", "-port",
                       str(port)]
            with process(command, secret, folder, WEBHOOK) as address:
                yield address and Running.at(address, app, "/hooks/hook")
    return start
