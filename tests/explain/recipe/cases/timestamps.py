"""Timestamps in another format, and deliveries outside of the window."""

from dataclasses import replace
from datetime import datetime, timezone
from email.utils import formatdate

from cases.headers import python, value
from lab import nginx

FORMAT, OLD, NEW = "timestamp_format", "timestamp_too_old", "timestamp_too_new"
SLACK, ZOOM, BEAT = "X-Slack-Request-Timestamp", "x-zm-request-timestamp", "X-BeatAPI-Timestamp"
ZENDESK, HUBSPOT = "X-Zendesk-Webhook-Signature-Timestamp", "X-HubSpot-Request-Timestamp"


def received_after(seconds):
    return lambda delivery: replace(delivery, at=delivery.at + seconds)


def iso(text):
    return datetime.fromtimestamp(int(text), timezone.utc).isoformat()


CASES = [
    ("js-milliseconds-slack", "slack", value(SLACK, "(text) => Number(text) * 1000"), FORMAT, True,
     "JavaScript: milliseconds in place of seconds"),
    ("python-float-beatapi", "beatapi", python(BEAT, lambda text: str(float(text))), FORMAT, True,
     "Python: str(float(…)) writes .0"),
    ("python-isoformat-standard", "standard", python("webhook-timestamp", iso), FORMAT, True,
     "Python: isoformat() of the timestamp"),
    ("exponent-zoom", "zoom", value(ZOOM, "(text) => Number(text).toExponential(9)"), FORMAT, True,
     "a float with an exponent"),
    ("python-isoformat-zendesk", "zendesk",
     python(ZENDESK, lambda text: datetime.fromisoformat(text).isoformat()), FORMAT, True,
     "Python: isoformat() writes +00:00 for Z"),
    ("js-toisostring-zendesk", "zendesk", value(ZENDESK, "(text) => new Date(text).toISOString()"),
     FORMAT, True, "JavaScript: toISOString() adds milliseconds"),
    ("seconds-hubspot", "hubspot", value(HUBSPOT, "(text) => Math.floor(Number(text) / 1000)"), FORMAT,
     True, "JavaScript: seconds in place of milliseconds"),
    ("http-date-svix", "svix",
     python("svix-timestamp", lambda text: formatdate(int(text), usegmt=True)), FORMAT, True,
     "Python: the date format of HTTP"),
    ("js-locale-slack", "slack", value(SLACK, "(text) => Number(text).toLocaleString('en-US')"),
     FORMAT, True, "JavaScript: toLocaleString() writes thousands separators"),
    ("nginx-msec-slack", "slack", nginx("own-values"), FORMAT + " header_altered", False,
     "nginx: $msec, its own time with milliseconds"),
    ("queue-two-hours-stripe", "stripe", received_after(7200), OLD, True,
     "a queue held the delivery for two hours"),
    ("late-worker-svix", "svix", received_after(301), OLD, True,
     "a worker was one second too late"),
    ("clock-ahead-zoom", "zoom", received_after(900), OLD, True,
     "the clock of the receiver is 15 minutes ahead"),
    ("replayed-beel", "beel", received_after(86400 * 3), OLD, True,
     "a capture was sent again after three days"),
    ("slow-linear", "linear", received_after(200), OLD, True, "a queue held the delivery for 200 s"),
    ("clock-behind-slack", "slack", received_after(-1200), NEW, True,
     "the clock of the receiver is 20 minutes behind"),
    ("zone-beatapi", "beatapi", received_after(-3600), NEW, True,
     "the clock of the receiver was set to local time"),
    ("clock-behind-calendly", "calendly", received_after(-200), NEW, True,
     "the clock of the receiver is 200 s behind"),
]
