"""Signs and verifies deliveries with the providers' own libraries, for `e2e/provider_sdks.rs`.

    provider_sdks.py verify PROVIDER SECRET HEADERS-AS-JSON < body
    provider_sdks.py sign   PROVIDER SECRET EVENT-ID        < body
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
        # The library has no public function that signs. It uses this one to verify.
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
