"""Large deliveries. Their bodies are made by rule."""

import json

from cases.compressed import sent_compressed, squeeze
from configured import secret
from genuine import body, github, slack, standard, stripe
from lab import app, dotnet, java, tool


def push(commits):
    """A push with many commits, as GitHub writes it."""
    event = json.loads(body("github-push.json"))
    event["commits"] = [
        event["commits"][0] | {"id": f"{index:040x}", "message": f"Commit no. {index} & more"}
        for index in range(commits)
    ]
    return github(json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode(), "push")


def invoice(lines):
    """An invoice with many lines, as Stripe writes it."""
    event = json.loads(body("stripe-invoice.json"))
    event["data"]["object"]["lines"]["data"] = [
        {"id": f"il_{index}", "amount": index * 100, "description": "Årsabonnement – nivå 2", "tax": None}
        for index in range(lines)
    ]
    return stripe(json.dumps(event, indent=2, ensure_ascii=False).encode())


def messages(count):
    """A message with a long text, as Slack writes it."""
    event = json.loads(body("slack-message.json"))
    event["event"]["text"] = "".join(f"Linje {index}: blåbær <b> / \U0001f600\n" for index in range(count))
    return slack(json.dumps(event, separators=(",", ":")).replace("/", "\\/").encode())


def contacts(count):
    event = json.loads(body("standard-message.json"))
    event["data"] = [event["data"] | {"id": f"ct_{index}"} for index in range(count)]
    return standard(json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode())


R = "body_json_rewritten"
LARGE_PUSH = push(200)

CASES = [
    ("large-flask-dumps-github", LARGE_PUSH, app("flask", "dumps"), R, True,
     "json.dumps of 64 KiB"),
    ("large-express-stripe", invoice(700), app("express", "stringify"), R, True,
     "JSON.stringify of 100 KiB"),
    ("large-php-standard", contacts(1000), app("php", "encode"), R, True,
     "json_encode of 150 KiB"),
    ("large-go-map-github", push(400), app("go", "map"), R, False, "json.Marshal of a map of 130 KiB"),
    ("large-jackson-slack", messages(1500), java("jackson-tree"), R, True, "Jackson, 64 KiB in one text"),
    ("large-jq-github", push(3000), tool("jq", "."), R, True, "jq . of 1 MiB"),
    ("large-crlf-stripe", invoice(4000), tool("unix2dos"), "body_text_edited", True,
     "unix2dos of 600 KiB"),
    ("large-bom-slack", messages(9000), dotnet("file-with-bom"), "body_text_edited", True,
     "a byte order mark and 600 KiB"),
    ("large-latin1-standard", contacts(4000), tool("iconv", "-f", "utf-8", "-t", "latin1"), "body_charset",
     True, "Latin-1 of 600 KiB"),
    ("large-base64-github", push(1500), tool("base64"), "body_base64", True, "base64 of 500 KiB"),
    ("large-gzip-github", sent_compressed(LARGE_PUSH, squeeze(LARGE_PUSH.body)), app("flask", "data"),
     "body_compressed", True, "compressed, and 64 KiB inflated"),
    ("large-limit-stripe", invoice(7000), tool("head", "-c", "1048576"), "body_truncated", False,
     "a limit of 1 MiB cuts the body"),
    ("large-html-standard", contacts(700), app("php", "htmlspecialchars"), "body_escaped", True,
     "htmlspecialchars of 100 KiB"),
    ("large-quotes-github", push(3000), secret('"{}"'.format), "secret_copied_badly", True,
     "quotes around the secret, and a body of 1 MiB"),
]
