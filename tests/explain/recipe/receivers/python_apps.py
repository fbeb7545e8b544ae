"""Web applications of Python frameworks that read a delivery in a wrong way.

The path `/as/KIND` chooses how. Each response says what the application has: the headers, the
body, and for other paths the address. The process prints its ports and ends with its input.
"""

import asyncio
import base64
import json
import sys
import threading
from datetime import datetime
from urllib.parse import parse_qs, urlencode
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
import flask
import orjson
import uvicorn
from aiohttp import web
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, JsonResponse
from django.urls import re_path
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="invented", MIDDLEWARE=[],
    REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": [], "UNAUTHENTICATED_USER": None},
)

from rest_framework.decorators import api_view  # noqa: E402, it reads the settings
from rest_framework.renderers import JSONRenderer  # noqa: E402


def seen(headers, body, url, method="POST"):
    body = body.encode() if isinstance(body, str) else body
    pairs = [[str(name), str(value)] for name, value in headers]
    return json.dumps(
        {"headers": pairs, "body": base64.b64encode(body).decode(), "url": url, "method": method}
    )


# Flask

app = flask.Flask("receiver")

FLASK = {
    "dumps": lambda r: json.dumps(r.get_json()),
    "app-json": lambda r: app.json.dumps(r.json),
    "silent": lambda r: json.dumps(r.get_json(silent=True)),
    "form-then-data": lambda r: (len(r.form), r.get_data())[1],
    "form-urlencode": lambda r: urlencode(r.form),
    "form-json": lambda r: json.dumps(r.form.to_dict()),
    "form-payload": lambda r: r.form["payload"],
    "form-no-blanks": lambda r: urlencode(parse_qs(r.get_data(as_text=True)), doseq=True),
    "form-strip": lambda r: urlencode({key: value.strip() for key, value in r.form.items()}),
    "str": lambda r: str(r.get_json()),
    "repr": lambda r: repr(r.data),
    "latin1": lambda r: r.get_data(as_text=True).encode("latin-1", "replace"),
    "data-again": lambda r: (r.stream.read(), r.stream.read())[1],
    "data": lambda r: r.get_data(),
    "part": lambda r: json.dumps(r.get_json()["data"], separators=(",", ":"), ensure_ascii=False),
}


@app.route("/as/<kind>", methods=["POST"])
def flask_as(kind):
    body = FLASK[kind](flask.request)
    return seen(flask.request.headers, body, flask.request.url)


@app.route("/", defaults={"path": ""}, methods=["GET", "POST", "PUT"])
@app.route("/<path:path>", methods=["GET", "POST", "PUT"])
def flask_url(path):
    r = flask.request
    return seen(r.headers, r.get_data(), r.url, r.method)


# Django and its REST framework

def django_as(request, kind):
    if kind == "dumps-unicode":
        body = json.dumps(json.loads(request.body), ensure_ascii=False)
    elif kind == "response":
        body = JsonResponse(json.loads(request.body)).content
    elif kind == "post-urlencode":
        body = request.POST.urlencode()
    elif kind == "post-json":
        body = json.dumps(request.POST)
    elif kind == "meta":
        names = ("HTTP_", "CONTENT_")
        headers = [(key, value) for key, value in request.META.items() if key.startswith(names)]
        return HttpResponse(seen(headers, request.body, request.build_absolute_uri()))
    return HttpResponse(seen(request.headers.items(), body, request.build_absolute_uri()))


@api_view(["POST"])
def drf_as(request):
    body = JSONRenderer().render(request.data)
    return HttpResponse(seen(request.headers.items(), body, request.build_absolute_uri()))


def django_url(request):
    url = request.build_absolute_uri()
    return HttpResponse(seen(request.headers.items(), request.body, url, request.method))


urlpatterns = [
    re_path(r"^as/drf$", drf_as),
    re_path(r"^as/(?P<kind>[a-z-]+)$", django_as),
    re_path(r"", django_url),
]


# FastAPI, which is Starlette and pydantic

api = FastAPI()


class VideoEvent(BaseModel):
    event: str
    id: str
    createdAt: datetime
    data: dict
    attempt: int = 1


class TicketEvent(BaseModel):
    type: str
    account_id: int
    id: str
    subject: str
    detail: dict


class TaskEvent(BaseModel):
    id: str
    event: str
    created_at: datetime
    data: dict


async def fastapi_body(kind, request):
    raw = await request.body()
    if kind == "model-default":
        return VideoEvent.model_validate_json(raw).model_dump_json()
    if kind == "model-ignores":
        return TicketEvent.model_validate_json(raw).model_dump_json()
    if kind == "model-date":
        return TaskEvent.model_validate_json(raw).model_dump_json()
    if kind == "json-response":
        return JSONResponse(await request.json()).body
    if kind == "compact":
        return json.dumps(await request.json(), separators=(",", ":"))
    if kind == "indent":
        return json.dumps(await request.json(), indent=2, ensure_ascii=False)
    if kind == "sorted":
        return json.dumps(await request.json(), sort_keys=True)
    if kind == "orjson":
        return orjson.dumps(orjson.loads(raw))
    if kind == "ignore":
        return raw.decode("ascii", "ignore")
    if kind == "replace":
        return raw.decode("ascii", "replace")
    if kind == "question-marks":
        return raw.decode().encode("ascii", "replace")


def fastapi_headers(request):
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]


@api.post("/as/{kind}")
async def fastapi_as(kind: str, request: Request):
    body = await fastapi_body(kind, request)
    return Response(seen(fastapi_headers(request), body, str(request.url)))


@api.api_route("/{path:path}", methods=["GET", "POST", "PUT"])
async def fastapi_url(path: str, request: Request):
    body = await request.body()
    return Response(seen(fastapi_headers(request), body, str(request.url), request.method))


# aiohttp

async def aiohttp_as(request):
    kind = request.match_info["kind"]
    if kind == "dumps":
        body = json.dumps(await request.json())
    elif kind == "post-json":
        body = json.dumps(dict(await request.post()))
    elif kind == "first-part":
        body = await request.content.read(256)
    elif kind == "first-line":
        body = await request.content.readline()
    elif kind == "raw":
        body = await request.read()
    return web.Response(text=seen(request.headers.items(), body, str(request.url)))


async def aiohttp_url(request):
    body = await request.read()
    return web.Response(text=seen(request.headers.items(), body, str(request.url), request.method))


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def serve_wsgi(application):
    server = make_server("127.0.0.1", 0, application, handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


async def serve_async():
    server = uvicorn.Server(uvicorn.Config(api, port=0, log_level="critical"))
    asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    fast = server.servers[0].sockets[0].getsockname()[1]

    application = web.Application(client_max_size=4 << 20)
    application.router.add_route("*", "/as/{kind}", aiohttp_as)
    application.router.add_route("*", "/{path:.*}", aiohttp_url)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return fast, site._server.sockets[0].getsockname()[1]


async def main():
    django.setup()
    ports = {"flask": serve_wsgi(app), "django": serve_wsgi(WSGIHandler())}
    ports["fastapi"], ports["aiohttp"] = await serve_async()
    print(json.dumps(ports), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
