"""A client that follows a redirect."""

import json

from lab import folder, proxy, received, run


def followed_redirect(delivery):
    """curl follows the 301 of nginx, as many senders do: with GET, and without the body."""
    file = folder() / "redirected.bin"
    file.write_bytes(delivery.body)
    port = proxy("nginx.conf")["redirect"]
    url = f"http://127.0.0.1:{port}/hooks/github"
    command = ["curl", "-sSL", url, "--data-binary", f"@{file}"]
    for name, value in delivery.headers:
        if name != "Content-Length":
            command += ["-H", f"{name}: {value}"]
    return received(delivery, json.loads(run(command)))
