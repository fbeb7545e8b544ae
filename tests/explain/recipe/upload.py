"""Uploads by curl."""

import json
from dataclasses import replace

from lab import applications, folder, received, run


def curl(*options):
    """curl sends the delivery from a file to a server that records it."""

    def change(delivery):
        file = folder() / "upload.bin"
        file.write_bytes(delivery.body)
        port = applications()["backend"]
        command = ["curl", "-sS", f"http://127.0.0.1:{port}/hooks/{delivery.provider}"]
        for name, value in delivery.headers:
            if name not in ("Content-Length", "Content-Type"):
                command += ["-H", f"{name}: {value}"]
        command += [option.format(file=file, type=delivery.header("Content-Type")) for option in options]
        seen = json.loads(run(command))
        return received(delivery, seen)

    return change
