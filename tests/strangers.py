"""Signs and verifies with the providers' own libraries, for `strangers.rs`.

    strangers.py verify PROVIDER SECRET HEADERS-AS-JSON < body
    strangers.py sign   PROVIDER SECRET EVENT-ID        < body
"""

import json
import sys
import time
from datetime import datetime, timezone

from beel import WebhookVerifier
from standardwebhooks import Webhook


def verify(provider, secret, headers, body):
    headers = {name.lower(): value for name, value in json.loads(headers).items()}
    if provider == "beel":
        WebhookVerifier(secret).verify(body, headers["beel-signature"])
    else:
        Webhook(secret).verify(body, headers)


def sign(provider, secret, event_id, body):
    now = int(time.time())
    if provider == "beel":
        # The library signs only to compare; this is the code that does it.
        signature = WebhookVerifier(secret)._compute_signature(now, body)
        return {"BeeL-Signature": f"t={now},v1={signature}"}
    at = datetime.fromtimestamp(now, tz=timezone.utc)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(now),
        "webhook-signature": Webhook(secret).sign(event_id, at, body),
    }


def main():
    command, provider, secret, argument = sys.argv[1:]
    body = sys.stdin.buffer.read().decode()
    if command == "verify":
        verify(provider, secret, argument, body)
    else:
        print(json.dumps(sign(provider, secret, argument, body)))


main()
