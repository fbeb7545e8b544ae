"""JSON that was encoded twice or put into another document, or of which a part was kept."""

import json

from lab import app, body, sql

R = "body_json_wrapped"
# A part is complete JSON of another length, as JSON that was written anew.
PART = R + " body_json_rewritten"


def sqs(text):
    """The event of a Lambda function that a queue of SQS calls, as AWS documents it."""
    record = {
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "body": text.decode(),
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1795012345312"},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-north-1:123456789012:hooks",
    }
    return json.dumps({"Records": [record]}).encode()


def sns(text):
    """A notification of SNS, as AWS documents it."""
    message = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:eu-north-1:123456789012:hooks",
        "Message": text.decode(),
        "Timestamp": "2026-11-18T14:32:25.312Z",
    }
    return json.dumps(message, indent=2).encode()


def eventbridge(text):
    """An event of EventBridge, as AWS documents it."""
    event = {
        "version": "0", "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": "webhook", "source": "hooks.kiosk", "time": "2026-11-18T14:32:25Z",
        "detail": json.loads(text),
    }
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


CASES = [
    ("express-twice-square", "square", app("express", "text-twice"), R, True,
     "Express: JSON.stringify of the text"),
    ("express-parsed-twice-paystack", "paystack", app("express", "twice"), R, True,
     "Express: JSON.stringify(JSON.stringify(req.body))"),
    ("express-wrapped-svix", "svix", app("express", "wrapped"), R, True,
     "Express: the body inside of an object of the application"),
    ("express-part-standard", "standard", app("express", "part"), PART, False,
     "Express: JSON.stringify(req.body.data), a part of the body"),
    ("flask-part-paddle", "paddle", app("flask", "part"), PART, False,
     "Flask: json.dumps(request.get_json()['data'])"),
    ("sinatra-part-stripe", "stripe", app("sinatra", "part"), PART, False,
     "Sinatra: JSON.generate of the member data"),
    ("pino-log-github", "github-ping", app("fastify", "log"), R, True,
     "Fastify: the line of the log that has the body as text"),
    ("row-to-json-razorpay", "razorpay", sql("row_to_json(r) FROM (SELECT 7 AS id, :'body' AS payload) r"),
     R, True, "PostgreSQL: the row of a table as JSON"),
    ("json-array-square", "square", body(lambda text: b"[" + text + b"]"), R, True,
     "a batch with one event"),
    ("sqs-event-paddle", "paddle", body(sqs), R, True, "the event of a queue of SQS"),
    ("sns-notification-line", "line", body(sns), R, True, "a notification of SNS"),
    ("eventbridge-zendesk", "zendesk", body(eventbridge), R, True, "an event of EventBridge"),
]
