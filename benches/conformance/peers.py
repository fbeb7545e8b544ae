"""The receivers under test, with the exact versions of their libraries."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import tomllib

import application
import receivers

HERE = pathlib.Path(__file__).resolve().parent
STANDARD, STRIPE, GITHUB = PROVIDERS = ["standard-webhooks", "stripe", "github"]
# A timestamp is signed, so a delivery has an age.
TIMED = [STANDARD, STRIPE]
GENUINE, FAILING = "2xx, one run", "5xx, then 2xx"
FORGED, AT_MOST_ONE, REPEATED = "4xx, no run", "2xx at most once", "2xx or 4xx, one run"


@dataclasses.dataclass(frozen=True)
class Peer:
    """A receiver of the deliveries of one provider."""

    name: str
    # The library, its version, its registry and what serves it.
    library: str
    provider: str
    start: object
    # Whether the receiver recognises a repeated event. Most libraries leave this to the application.
    remembers: bool = False
    # Returns whether this receiver must fail in a row. None if the record alone shows it.
    must_fail: object = None
    # Whether the receiver has a secret.
    has_secret: bool = True
    # The receiver whose process is tested again here. The test waits until it accepts `old-inside`.
    earlier: object = None


def all_peers(hookgate, installed):
    """Returns the receivers, by provider. `installed` is the folder of the libraries."""
    version = versions()
    libraries = Libraries(installed, version)
    found = []
    for provider in PROVIDERS:
        found += own(provider, hookgate, libraries.rust, version)
        found += libraries.of(provider)
        found += controls(provider)
    return found


def own(provider, hookgate, rust, version):
    """Returns hookgate's receivers. The memory store does not know which events it forgot."""
    ours = f"hookgate {version['crate hookgate']}"
    started = Peer("hookgate, memory, at its start", f"{ours}, the gateway with the memory store, "
                   "which just started", provider, receivers.gateway(hookgate, provider, "memory"),
                   True, lambda row: row["row"] == "old-inside")
    return [
        Peer("hookgate, disk", f"{ours}, the gateway with the disk store", provider,
             receivers.gateway(hookgate, provider, "disk"), True, lambda row: False),
        started,
        *([aged(started)] if provider in TIMED else []),
        Peer("hookgate, layer", f"{ours}, the layer in axum", provider,
             receivers.program(rust, "tower-hookgate", provider), True, lambda row: False),
    ]


def aged(started):
    """Returns the same receiver when it has run for as long as the window. Every row passes then."""
    library = f"the process of `{started.name}`, about five minutes after its start"
    return dataclasses.replace(started, name="hookgate, memory, later", library=library,
                               must_fail=lambda row: False, earlier=started)


def controls(provider):
    """Returns two receivers that are not safe. The matrix must show it."""
    return [
        Peer("accepts all", "control", provider, receivers.control(application.Application), True,
             lambda row: row["expected"] not in (GENUINE, FAILING), False),
        Peer("refuses all", "control", provider, receivers.control(application.Refusing), True,
             lambda row: row["expected"] not in (FORGED, AT_MOST_ONE), False),
    ]


class Libraries:
    """The receivers with libraries of other projects."""

    def __init__(self, installed, version):
        self.version = version
        self.rust = installed / "rust" / "release" / "hookgate-conformance"
        self.python = installed / "python" / "venv" / "bin" / "python"
        path = f"{installed / 'webhook' / 'bin'}:{os.environ['PATH']}"
        self.webhook = shutil.which("webhook", path=path) or "webhook"

    def of(self, provider):
        if provider == STANDARD:
            names = [("crate", "standardwebhooks", "Rust"), ("npm", "standardwebhooks", "JS"),
                     ("pypi", "standardwebhooks", "Python"), ("crate", "axum-standardwebhooks", None),
                     ("crate", "svix", "Rust"), ("npm", "svix", "JS"), ("pypi", "svix", "Python"),
                     ("crate", "webhook-verify", None)]
        elif provider == STRIPE:
            names = [("npm", "stripe", "JS"), ("pypi", "stripe", "Python"),
                     ("crate", "webhook-verify", None)]
        else:
            names = [("npm", "@octokit/webhooks", None), ("pypi", "flask-github-signature", None),
                     ("pypi", "django-github-app", None), ("debian", "webhook", "Debian"),
                     ("crate", "webhook-verify", None)]
        return [self.peer(provider, *name) for name in names]

    def peer(self, provider, registry, name, language):
        server, start = {
            "crate": ("crates.io, axum", receivers.program(self.rust, name, provider)),
            "npm": ("npm, express", receivers.program("node", HERE / "node" / "receiver.mjs", name)),
            "pypi": self.in_python(name),
            "debian": ("Debian", receivers.debian_webhook(self.webhook)),
        }[registry]
        version = self.version.get(f"{registry} {name}") or debian_version(self.webhook)
        title = f"{name}, {language}" if language else name
        return Peer(title, f"{name} {version} ({server})", provider, start)

    def in_python(self, name):
        framework = "django" if name.startswith("django") else "flask"
        script = HERE / "python" / f"{framework}_receiver.py"
        start = receivers.program(self.python, script, name)
        return f"PyPI, {framework.title()} {self.version['pypi ' + framework.title()]}", start


def versions():
    """Returns the pinned version of every library."""
    found = {}
    lock = tomllib.loads((HERE / "Cargo.lock").read_text())
    for package in lock["package"]:
        found["crate " + package["name"]] = package["version"]
    found["crate hookgate"] = found["crate tower-hookgate"]
    packages = json.loads((HERE / "node" / "package-lock.json").read_text())["packages"]
    for name, package in packages.items():
        found["npm " + name.removeprefix("node_modules/")] = package.get("version")
    for line in (HERE / "python" / "requirements.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        found["pypi " + name] = version
    return found


def debian_version(webhook):
    if not shutil.which(webhook):
        return "?"
    done = subprocess.run([webhook, "-version"], text=True, capture_output=True, check=True)
    return done.stdout.split()[-1]
