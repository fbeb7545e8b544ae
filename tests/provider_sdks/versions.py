"""Prints which of the providers' libraries have a newer version than the pinned one.

    versions.py FOLDER    the folder into which `install.sh FOLDER --newest` has installed
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def pinned(name):
    """Returns the versions in both files `name`: for `make test`, and for `make drift` alone."""
    versions = {}
    for path in (HERE / name, HERE / "drift" / name):
        text = path.read_text()
        if name.endswith(".json"):
            versions |= json.loads(text)["dependencies"]
        else:
            versions |= dict(line.split("==") for line in text.split())
    return versions


def installed_npm(folder):
    modules = folder / "node_modules"
    for package in pinned("package.json"):
        path = modules / package / "package.json"
        if path.exists():
            yield package, json.loads(path.read_text())["version"]


def installed_pypi(folder):
    python = folder / "venv/bin/python"
    pip = [python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
    listed = json.loads(subprocess.run(pip, capture_output=True, check=True).stdout)
    versions = {normalized(row["name"]): row["version"] for row in listed}
    for package in pinned("requirements.txt"):
        if normalized(package) in versions:
            yield package, versions[normalized(package)]


def normalized(name):
    return name.lower().replace("_", "-").replace(".", "-")


def main():
    folder = Path(sys.argv[1])
    for registry, name, installed in (
        ("npm", "package.json", installed_npm),
        ("PyPI", "requirements.txt", installed_pypi),
    ):
        if not (folder / f"{registry.lower()}.installed").exists():
            continue
        old = pinned(name)
        newer = [(package, new) for package, new in installed(folder) if new != old[package]]
        print(f"{registry}: {len(newer)} of {len(old)} libraries have another version")
        for package, new in newer:
            print(f"  {package} {old[package]} → {new}")


main()
