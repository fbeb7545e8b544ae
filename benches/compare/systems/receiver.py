"""A receiver in FastAPI that verifies with the Python package standardwebhooks."""

import os

from fastapi import FastAPI, Request, Response
from standardwebhooks import Webhook

webhook = Webhook(os.environ["SECRET"])
app = FastAPI()


@app.post("/hooks")
async def hooks(request: Request) -> Response:
    body = await request.body()
    try:
        webhook.verify(body, dict(request.headers))
    except Exception:
        return Response(status_code=401)
    return Response(status_code=204)
