"""An app for the WSGI server gunicorn and the ASGI servers uvicorn and hypercorn. It writes each
request to the file in ORIGIN_LOG, as JSON in one line."""

import json
import os


def log(method, target, fields, body):
    record = {"method": method, "target": target, "fields": fields, "body": body.hex()}
    line = json.dumps(record) + "\n"
    # One call writes the line, so that lines of several processes do not mix.
    with open(os.environ["ORIGIN_LOG"], "a", buffering=1) as file:
        file.write(line)


def wsgi(environ, start_response):
    try:
        body = environ["wsgi.input"].read()
    except Exception:
        body = b"unreadable"
    fields = [
        (name[5:].replace("_", "-").lower(), value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    target = environ.get("RAW_URI") or environ.get("PATH_INFO", "")
    log(environ["REQUEST_METHOD"], target, fields, body)
    start_response("204 No Content", [])
    return []


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] != "http":
        return
    body, is_complete = b"", False
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        body += message.get("body", b"")
        if not message.get("more_body"):
            is_complete = True
            break
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    if is_complete:
        log(scope["method"], scope["raw_path"].decode("latin-1"), fields, body)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})
