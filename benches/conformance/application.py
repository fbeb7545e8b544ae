"""The application behind the gateway and behind Debian's webhook, and the two controls.

The application verifies nothing, so it is itself the receiver that accepts everything.
"""

import contextlib
import http.server
import json
import pathlib
import sys
import threading

sys.path.append(str(pathlib.Path(__file__).resolve().parent / "python"))
from runs import Runs  # noqa: E402, after its folder


class Application(http.server.BaseHTTPRequestHandler):
    """Runs every event, and answers a body that is no event with 204."""

    protocol_version = "HTTP/1.1"
    runs = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            event = json.loads(body)
        except ValueError:
            return self.respond(204)
        return self.respond(self.runs.run(event))

    def do_GET(self):
        self.respond(200, self.runs.count(self.path.removeprefix("/runs/")).encode())

    def respond(self, status, body=b""):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Refusing(Application):
    """Refuses everything."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.respond(401)


@contextlib.contextmanager
def serve(kind=Application):
    """Starts the application in this process, and yields its address."""
    handler = type("Handler", (kind,), {"runs": Runs()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
