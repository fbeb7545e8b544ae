"""Bodies in base64, alone or inside of an event."""

import base64
import json
from dataclasses import replace

from lab import app, body, shell, sql, tool

R = "body_base64"
EVENT = R + " body_json_wrapped"


def api_gateway(version, encoded):
    """The event of a Lambda function behind API Gateway or a function URL, as AWS documents it."""

    def change(delivery):
        text = base64.b64encode(delivery.body).decode() if encoded else delivery.body.decode()
        headers = {name.lower(): value for name, value in delivery.headers}
        path = f"/hooks/{delivery.provider}"
        if version == 1:
            event = {"resource": "/{proxy+}", "path": path, "httpMethod": "POST", "headers": headers,
                     "queryStringParameters": None, "body": text, "isBase64Encoded": encoded}
        else:
            event = {"version": "2.0", "routeKey": "$default", "rawPath": path, "headers": headers,
                     "requestContext": {"http": {"method": "POST", "path": path}},
                     "body": text, "isBase64Encoded": encoded}
        return replace(delivery, body=json.dumps(event).encode())

    return change


def pubsub(text):
    """A push message of Google Pub/Sub, as Google documents it."""
    data = base64.b64encode(text).decode()
    message = {"data": data, "messageId": "2070443601311540", "publishTime": "2026-11-18T14:32:25.3Z"}
    event = {"message": message, "subscription": "projects/kiosk/subscriptions/hooks"}
    return json.dumps(event, indent=2).encode()


def kinesis(text):
    """A record of Kinesis in the event of a Lambda function, as AWS documents it."""
    data = base64.b64encode(text).decode()
    kinesis = {"kinesisSchemaVersion": "1.0", "partitionKey": "1", "data": data}
    return json.dumps({"Records": [{"kinesis": kinesis, "eventSource": "aws:kinesis"}]}).encode()


CASES = [
    ("base64-lines-stripe", "stripe", tool("base64"), R, True, "base64 in lines of 76 characters"),
    ("base64-one-line-linear", "linear", tool("base64", "-w0"), R, True, "base64 -w0"),
    ("openssl-base64-zoom", "zoom", tool("openssl", "base64"), R, True, "openssl base64"),
    ("express-base64-square", "square", app("express", "base64"), R, True,
     "Node.js: buffer.toString('base64')"),
    ("php-chunk-split-beatapi", "beatapi", app("php", "base64-chunks"), R, True,
     "PHP: chunk_split(base64_encode($body)) ends lines with CR LF"),
    ("ruby-encode64-line", "line", app("sinatra", "encode64"), R, True,
     "Ruby: Base64.encode64 has lines of 60 characters"),
    ("go-json-bytes-razorpay", "razorpay", app("go", "bytes"), EVENT, True,
     "Go: json.Marshal of a []byte is base64 in quotes"),
    ("postgres-bytea-standard", "standard", sql("encode(convert_to(:'body', 'UTF8'), 'base64')"), R,
     True, "PostgreSQL: encode(body, 'base64')"),
    ("urlsafe-base64-slack", "slack",
     tool("python3", "-c", "import base64, sys; sys.stdout.buffer.write(base64.urlsafe_b64encode(sys.stdin.buffer.read()))"),
     R, True, "Python: base64.urlsafe_b64encode"),
    ("data-url-paddle", "paddle", shell("printf 'data:application/json;base64,'; base64 -w0"), R, True,
     "a data URL"),
    ("lambda-v1-text-stripe", "stripe", api_gateway(1, False), EVENT, True,
     "the event of API Gateway (version 1) in place of its body"),
    ("lambda-v1-base64-shopify", "shopify", api_gateway(1, True), EVENT, True,
     "the event of API Gateway (version 1) with base64"),
    ("lambda-v2-base64-slack-command", "slack-command", api_gateway(2, True), EVENT, True,
     "the event of API Gateway (version 2) with a form in base64"),
    ("pubsub-push-intercom", "intercom", body(pubsub), EVENT, True, "a push message of Pub/Sub"),
    ("kinesis-record-hubspot", "hubspot", body(kinesis), EVENT, True, "a record of Kinesis"),
]
