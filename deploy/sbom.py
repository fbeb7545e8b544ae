#!/usr/bin/env python3
"""Prints a CycloneDX bill of materials of the binary `hookgate`.

    SOURCE_DATE_EPOCH=SECONDS deploy/sbom.py [TARGET]

The list has the crates that `cargo build --locked --package hookgate` links or runs for the target
(default: the host), with their checksums in Cargo.lock. Development dependencies are not part of
it.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
import uuid
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "hookgate"


def main() -> None:
    target = sys.argv[1] if len(sys.argv) > 1 else host()
    metadata = cargo("metadata", "--format-version", "1", "--filter-platform", target)
    packages = {package["id"]: package for package in metadata["packages"]}
    edges = {
        node["id"]: sorted(
            dep["pkg"]
            for dep in node["deps"]
            if any(kind["kind"] in (None, "build") for kind in dep["dep_kinds"])
        )
        for node in metadata["resolve"]["nodes"]
    }
    root = next(id for id, package in packages.items() if package["name"] == PACKAGE)
    reachable = {root}
    waiting = [root]
    while waiting:
        for id in edges[waiting.pop()]:
            if id not in reachable:
                reachable.add(id)
                waiting.append(id)
    sums = checksums()
    components = [component(packages[id], sums) for id in reachable if id != root]
    components.sort(key=lambda item: item["bom-ref"])
    dependencies = [
        {"ref": ref(packages[id]), "dependsOn": sorted(ref(packages[dep]) for dep in edges[id])}
        for id in reachable
    ]
    dependencies.sort(key=lambda item: item["ref"])
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": timestamp(),
            "component": component(packages[root], sums) | {"type": "application"},
            "properties": [{"name": "hookgate:target", "value": target}],
        },
        "components": components,
        "dependencies": dependencies,
    }
    # Equal inputs give equal files, so the number depends on the content.
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True))
    bom["serialNumber"] = f"urn:uuid:{number}"
    json.dump(bom, sys.stdout, indent=2)
    print()


def cargo(*arguments: str) -> dict:
    command = [os.environ.get("CARGO", "cargo"), *arguments, "--locked"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def host() -> str:
    version = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return re.search(r"^host: (.*)$", version, re.MULTILINE)[1]


def timestamp() -> str:
    """Returns the time in SOURCE_DATE_EPOCH, so that a second run gives the same file."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    if not seconds:
        sys.exit("SOURCE_DATE_EPOCH is missing: set it to the time of the commit in seconds")
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def checksums() -> dict:
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(item["name"], item["version"]): item.get("checksum") for item in lock["package"]}


def ref(package: dict) -> str:
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package: dict, sums: dict) -> dict:
    found = {
        "type": "library",
        "bom-ref": ref(package),
        "name": package["name"],
        "version": package["version"],
        "purl": ref(package),
    }
    if package["license"]:
        # Old crates separate alternatives with a slash, which is no SPDX expression.
        expression = re.sub(r"\s*/\s*", " OR ", package["license"])
        found["licenses"] = [{"expression": expression}]
    if checksum := sums.get((package["name"], package["version"])):
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found


if __name__ == "__main__":
    main()
