"""Ways in which a secret gets from the provider's page into the configuration of a receiver."""

from dataclasses import replace

from delivery import Delivery
from lab import folder, node, run


def secret(change):
    """A function of text changes the secret."""
    return lambda delivery: replace(delivery, secret=change(delivery.secret))


def command(*argv):
    """A command reads the secret and writes it anew."""
    return secret(lambda text: run(argv, text.encode()).decode())


def bash(script):
    """A script of bash has the secret in a file, and prints what it configures."""

    def change(text):
        path = folder() / "secret"
        path.write_text(text)
        return run(["bash", "-c", script, "bash", path]).decode()

    return secret(change)


def env_file(line, name="SECRET"):
    """A file of variables in which `{}` stands for the secret."""

    def write(text):
        path = folder() / ".env"
        path.write_bytes(line.replace("{}", text).encode())
        return path

    write.name = name
    return write


def sourced(write):
    """bash reads the file with `source`."""
    script = 'set -a; source "$1" 2>/dev/null; printf %s "$' + write.name + '"'
    return secret(lambda text: run(["bash", "-c", script, "bash", write(text)]).decode())


def xargs_export(write):
    """bash reads the file with `export $(xargs < .env)`."""
    script = 'export $(xargs < "$1"); printf %s "$' + write.name + '"'
    return secret(lambda text: run(["bash", "-c", script, "bash", write(text)]).decode())


def npm_dotenv(write):
    """The package dotenv of npm reads the file."""
    script = (
        "const { parse } = require('dotenv');"
        f"process.stdout.write(parse(require('fs').readFileSync(process.argv[1])).{write.name})"
    )
    return secret(lambda text: run(["node", "-e", script, write(text)]).decode())


def python_dotenv(write):
    """The package python-dotenv reads the file."""

    def change(text):
        from dotenv import dotenv_values

        return dotenv_values(write(text))[write.name]

    return secret(change)


def split_lines(write):
    """A loader takes all after the first = of a line, as docker --env-file documents it."""

    def change(text):
        lines = write(text).read_bytes().decode().split("\n")
        pairs = dict(line.split("=", 1) for line in lines if "=" in line)
        return pairs[write.name]

    return secret(change)


def pyyaml(document):
    """PyYAML reads a document in which `{}` stands for the secret."""

    def change(text):
        import yaml

        return str(yaml.safe_load(document.replace("{}", text))["secret"])

    return secret(change)


def js_yaml(document):
    """js-yaml reads a document in which `{}` stands for the secret."""

    def change(text):
        load = node("(text) => String(require('js-yaml').load(text).secret)")
        given = Delivery("", "", (), document.replace("{}", text).encode())
        return load(given).body.decode()

    return secret(change)


def kubernetes(encode):
    """A manifest has the output of a command, and the pod gets what it decodes to."""

    def change(text):
        path = folder() / "secret"
        path.write_text(text)
        encoded = run(["bash", "-c", encode, "bash", path])
        return run(["base64", "-d"], encoded).decode()

    return secret(change)


def given(text):
    """The operator configured another text."""
    return secret(lambda _: text)
