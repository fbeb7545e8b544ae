"""An HTTP server behind a proxy. Its response says what arrived: the headers in their order, the
body, the address and the method. The process prints its port and ends with its input."""

import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def receive(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        host = self.headers.get("Host", "")
        seen = {
            "headers": list(self.headers.raw_items()),
            "body": base64.b64encode(body).decode(),
            "url": f"http://{host}{self.path}",
            "method": self.command,
        }
        answer = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = receive

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(json.dumps({"backend": server.server_port}), flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown())).start()
server.serve_forever()
