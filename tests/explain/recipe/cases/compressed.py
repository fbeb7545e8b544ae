"""Bodies that are still compressed, or were inflated although the compressed bytes were signed."""

import gzip
import zlib
from dataclasses import replace

from delivery import SIGNED_AT
from genuine import BEATAPI, LINEAR, RAZORPAY, body, github, hmac_of_body, stamped
from lab import app, haproxy, tool
from upload import curl

R = "body_compressed"
T = str(SIGNED_AT)


def sent_compressed(delivery, packed, encoding="gzip"):
    """The sender signs the plain body and compresses it for the transport."""
    sent = replace(delivery, body=packed).with_header("Content-Length", str(len(packed)))
    return sent.adding(("Content-Encoding", encoding)) if encoding else sent


def squeeze(text):
    return gzip.compress(text, 9, mtime=0)


def raw_deflate(text):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(text) + packer.flush()


PUSH = github(body("github-push.json"), "push")
TASK = stamped(
    "beatapi", BEATAPI, body("beatapi-task.json"), "BeatAPI-Webhooks/1.0", "X-BeatAPI-Signature", "{}",
    f"{T}.", (("X-BeatAPI-Event", "task.failed"), ("X-BeatAPI-Timestamp", T)),
)
ISSUE = hmac_of_body("linear", LINEAR, body("linear-issue.json"), "Linear-Webhook", "Linear-Signature")

# The sender signs the compressed bytes.
PACKED_PUSH = github(squeeze(body("github-push.json")), "push").adding(("Content-Encoding", "gzip"))
PACKED_PAYMENT = hmac_of_body(
    "razorpay", RAZORPAY, squeeze(body("razorpay-payment.json")), "Razorpay-Webhook/v1",
    "X-Razorpay-Signature",
).adding(("Content-Encoding", "gzip"))
DEFLATED_TASK = stamped(
    "beatapi", BEATAPI, zlib.compress(body("beatapi-task.json"), 9), "BeatAPI-Webhooks/1.0",
    "X-BeatAPI-Signature", "{}", f"{T}.", (("X-BeatAPI-Timestamp", T),),
).adding(("Content-Encoding", "deflate"))

CASES = [
    ("flask-gzip-github", sent_compressed(PUSH, squeeze(PUSH.body)), app("flask", "data"), R, True,
     "Flask: get_data() does not inflate"),
    ("php-gzip-beatapi", sent_compressed(TASK, squeeze(TASK.body)), app("php", "input"), R, True,
     "PHP: php://input does not inflate"),
    ("flask-deflate-linear", sent_compressed(ISSUE, zlib.compress(ISSUE.body), "deflate"),
     app("flask", "data"), R, True, "Flask: get_data() does not inflate deflate"),
    ("go-raw-deflate-linear", sent_compressed(ISSUE, raw_deflate(ISSUE.body), "deflate"),
     app("go", "raw"), R, True, "Go: the server does not inflate raw deflate"),
    ("haproxy-encoding-dropped-github", sent_compressed(PUSH, squeeze(PUSH.body)),
     haproxy("deleted"), R, True, "HAProxy deletes content-encoding"),
    ("curl-gzip-file-square", "square", [tool("gzip", "-9", "-n", "-c"), curl("-H", "Content-Type: {type}", "--data-binary", "@{file}")],
     R, True, "curl sends the compressed file"),
    ("express-inflates-github", PACKED_PUSH, app("express", "raw"), R, False,
     "Express: raw() inflates, and the compressed bytes were signed"),
    ("express-inflates-razorpay", PACKED_PAYMENT, app("express", "raw"), R, False,
     "Express: raw() inflates, and the compressed bytes were signed"),
    ("aiohttp-inflates-beatapi", DEFLATED_TASK, app("aiohttp", "raw"), R, False,
     "aiohttp: read() inflates, and the compressed bytes were signed"),
]
