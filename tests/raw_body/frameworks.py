"""Runs the handlers of docs/mismatch.md in their frameworks.

Standard input is a JSON object: `handlers` by framework, and `deliveries` as pairs of a content
type and a body in hex. Standard output is a JSON object: by framework, the body in hex that the
handler passed to `verify` for each delivery.
"""

import asyncio
import json
import sys


def verify(headers, body):
    """Stands in for the check of a signature: responds with the bytes that it would check."""
    return body.hex()


def flask(source, deliveries):
    from flask import Flask, request

    names = {"app": Flask("hooks"), "json": json, "request": request, "verify": verify}
    exec(source, names)
    client = names["app"].test_client()
    for content_type, body in deliveries:
        yield client.post("/hooks", data=body, content_type=content_type).text


def django(source, deliveries):
    from django.conf import settings
    from django.http import HttpResponse
    from django.test import RequestFactory
    from django.views.decorators.csrf import csrf_exempt

    settings.configure(ALLOWED_HOSTS=["*"])
    names = {"HttpResponse": HttpResponse, "csrf_exempt": csrf_exempt, "verify": verify}
    exec(source, names)
    for content_type, body in deliveries:
        request = RequestFactory().post("/hooks", data=body, content_type=content_type)
        yield names["hooks"](request).content.decode()


def fastapi(source, deliveries):
    from fastapi import FastAPI, Request, Response

    names = {"app": FastAPI(), "Request": Request, "Response": Response, "verify": verify}
    exec(source, names)
    for content_type, body in deliveries:
        yield asyncio.run(post(names["app"], content_type, body))


async def post(app, content_type, body):
    """Sends one request to an ASGI application, and returns the body of its response."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/hooks",
        "raw_path": b"/hooks",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", content_type.encode())],
    }
    parts = [
        {"type": "http.request", "body": body[:3], "more_body": True},
        {"type": "http.request", "body": body[3:], "more_body": False},
    ]
    received = []

    async def receive():
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message):
        received.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(received).decode()


FRAMEWORKS = {"Flask": flask, "Django": django, "FastAPI and Starlette": fastapi}

given = json.load(sys.stdin)
deliveries = [(content_type, bytes.fromhex(body)) for content_type, body in given["deliveries"]]
run = {name: list(FRAMEWORKS[name](source, deliveries)) for name, source in given["handlers"].items()}
json.dump(run, sys.stdout)
