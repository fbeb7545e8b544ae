"""A receiver in Flask with one of the libraries under test, as its documentation shows it.

Usage: SECRET=… flask_receiver.py LIBRARY. It prints its address.
"""

import os
import sys

from flask import Flask, request
from werkzeug.serving import make_server

from runs import Runs

SECRET = os.environ["SECRET"]
app = Flask(__name__)
runs = Runs()


def standardwebhooks():
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError
    webhook = Webhook(SECRET)
    return lambda body, headers: webhook.verify(body, dict(headers)), WebhookVerificationError


def svix():
    from svix.webhooks import Webhook, WebhookVerificationError
    webhook = Webhook(SECRET)
    return lambda body, headers: webhook.verify(body, dict(headers)), WebhookVerificationError


def stripe():
    import stripe

    def verify(body, headers):
        return stripe.Webhook.construct_event(body, headers.get("Stripe-Signature"), SECRET)

    return verify, (ValueError, stripe.SignatureVerificationError)


def verifying(library):
    """Returns a view that verifies. Errors that the documentation does not name are answered by 500."""
    verify, errors = library()

    def receive():
        try:
            verify(request.get_data(), request.headers)
        except errors:
            return "", 400
        return "", runs.run(request.get_json())

    return receive


def flask_github_signature():
    # The library reads its secret from here.
    os.environ["GH_WEBHOOK_SECRET"] = SECRET
    from flask_github_signature import verify_signature
    return verify_signature(lambda: ("", runs.run(request.get_json())))


VIEWS = {
    "standardwebhooks": lambda: verifying(standardwebhooks),
    "svix": lambda: verifying(svix),
    "stripe": lambda: verifying(stripe),
    "flask-github-signature": flask_github_signature,
}


@app.get("/runs/<name>")
def count(name):
    return runs.count(name)


if __name__ == "__main__":
    app.add_url_rule("/hooks", view_func=VIEWS[sys.argv[1]](), methods=["POST"])
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"listening on 127.0.0.1:{server.port}", flush=True)
    server.serve_forever()
