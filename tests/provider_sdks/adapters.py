"""Signs and verifies deliveries with the providers' own Python libraries, for
`tests/e2e/provider_sdks`.

The process reads one JSON request a line and writes one JSON response a line. `adapters.mjs`
describes the requests and responses.
"""

import asyncio
import base64
import hashlib
import importlib
import json
import logging
import os
import sys
from datetime import datetime, timezone
from types import SimpleNamespace
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit


class Request:
    """A request to sign or to verify a delivery."""

    def __init__(self, fields):
        self.__dict__.update(fields)
        self.body = base64.b64decode(fields["body"])
        self.params = fields.get("params") or {}
        self.headers = {}
        # Django and werkzeug join the values of a repeated field in this way.
        for name, value in fields.get("headers") or []:
            self.headers[name] = f"{self.headers[name]},{value}" if name in self.headers else value

    @property
    def text(self):
        return self.body.decode()

    def header(self, name):
        return self.headers[name]

    def form(self):
        return dict(parse_qsl(self.text, keep_blank_values=True))

    def time(self):
        return datetime.fromtimestamp(self.at, tz=timezone.utc)


VERIFY = {}
SIGN = {}


def verify(*names):
    """Registers a function that verifies with the library `names`. It returns a false value or
    raises an exception if the library refuses the delivery."""

    def register(function):
        VERIFY.update((name, function) for name in names)
        return function

    return register


def sign(*names):
    """Registers a function that signs with the library `names`. It returns headers, and the body
    under the name `body` if the signature is a part of it."""

    def register(function):
        SIGN.update((name, function) for name in names)
        return function

    return register




@verify("videogen")
def _(d):
    from videogen import verify_webhook_signature

    verify_webhook_signature(d.body, d.headers, d.secret)
    return True


@verify("beel-sdk")
def _(d):
    from beel import WebhookVerifier

    WebhookVerifier(d.secret).verify(d.text, d.header("beel-signature"))
    return True


@sign("beel-sdk")
def _(r):
    from beel import WebhookVerifier

    # The library has no public function that signs. It uses this one to verify.
    signature = WebhookVerifier(r.secret)._compute_signature(r.at, r.text)
    return {"beel-signature": f"t={r.at},v1={signature}"}


@verify("standardwebhooks")
def _(d):
    from standardwebhooks import Webhook

    Webhook(d.secret).verify(d.body, d.headers)
    return True


@sign("standardwebhooks")
def _(r):
    from standardwebhooks import Webhook

    signature = Webhook(r.secret).sign(r.id, r.time(), r.text)
    return {"webhook-id": r.id, "webhook-timestamp": str(r.at), "webhook-signature": signature}


@verify("svix")
def _(d):
    from svix.webhooks import Webhook

    Webhook(d.secret).verify(d.body, d.headers)
    return True


@sign("svix")
def _(r):
    from svix.webhooks import Webhook

    signature = Webhook(r.secret).sign(r.id, r.time(), r.text)
    return {"svix-id": r.id, "svix-timestamp": str(r.at), "svix-signature": signature}


@verify("resend")
def _(d):
    import resend

    names = {"id": "svix-id", "timestamp": "svix-timestamp", "signature": "svix-signature"}
    headers = {key: d.headers.get(name) for key, name in names.items()}
    options = {"payload": d.text, "headers": headers, "webhook_secret": d.secret}
    resend.Webhooks.verify(options)
    return True


@verify("polar-sdk")
def _(d):
    from polar.webhooks import validate_event

    kind = json.loads(d.text)["type"]
    validate_event(d.body, d.headers, d.secret, frozenset({kind}), lambda event: event)
    return True


@verify("increase")
def _(d):
    from increase import Increase

    Increase(api_key="unused").events.unwrap(d.text, headers=d.headers, key=d.secret.encode())
    return True


@verify("openai")
def _(d):
    from openai import OpenAI

    OpenAI(api_key="unused").webhooks.verify_signature(d.text, d.headers, secret=d.secret)
    return True


@verify("anthropic")
def _(d):
    from anthropic import Anthropic

    Anthropic(api_key="unused").beta.webhooks.unwrap(d.text, headers=d.headers, key=d.secret)
    return True


@verify("lithic")
def _(d):
    from lithic import Lithic

    Lithic(api_key="unused").webhooks.verify_signature(d.text, d.headers, secret=d.secret)
    return True


@verify("finch-api")
def _(d):
    from finch import Finch

    Finch(access_token="unused").webhooks.verify_signature(d.text, d.headers, secret=d.secret)
    return True


@verify("replicate")
def _(d):
    from replicate.webhook import Webhooks, WebhookSigningSecret

    secret = WebhookSigningSecret(key=d.secret)
    Webhooks.validate(headers=d.headers, body=d.text, secret=secret)
    return True


@verify("paddle-python-sdk")
def _(d):
    from paddle_billing.Notifications import Secret, Verifier

    headers = SimpleNamespace(get=lambda name, default=None: d.headers.get(name.lower(), default))
    request = SimpleNamespace(body=d.body, content=d.body, data=d.body, headers=headers)
    return Verifier().verify(request, Secret(d.secret))


@verify("Adyen adyen")
def _(d):
    from Adyen.util import is_valid_hmac_notification

    return is_valid_hmac_notification(json.loads(d.text), d.secret)


@sign("Adyen adyen")
def _(r):
    from Adyen.util import generate_notification_sig

    message = json.loads(r.text)
    item = message["notificationItems"][0]["NotificationRequestItem"]
    signature = generate_notification_sig(item, r.secret).decode()
    item.setdefault("additionalData", {})["hmacSignature"] = signature
    return {"body": json.dumps(message)}


@verify("Adyen adyen-platform")
def _(d):
    from Adyen.util import is_valid_hmac_payload

    return is_valid_hmac_payload(d.header("hmacsignature"), d.secret, d.body)


@sign("Adyen adyen-platform")
def _(r):
    from Adyen.util import generate_payload_sig

    return {"hmacsignature": generate_payload_sig(r.body, r.secret).decode()}


@verify("messagebird")
def _(d):
    from messagebird.request_validator import RequestValidator

    signature = d.header("messagebird-signature-jwt")
    RequestValidator(d.secret).validate_signature(signature, d.url, d.body)
    return True


@verify("line-bot-sdk")
def _(d):
    from linebot.v3.webhook import SignatureValidator

    return SignatureValidator(d.secret).validate(d.text, d.header("x-line-signature"))


@verify("hubspot-api-client")
def _(d):
    from hubspot.utils.signature import Signature

    return Signature.is_valid(
        signature=d.header("x-hubspot-signature-v3"),
        client_secret=d.secret,
        request_body=d.text,
        http_uri=d.url,
        http_method=d.method,
        signature_version="v3",
        timestamp=d.header("x-hubspot-request-timestamp"),
    )


@sign("hubspot-api-client")
def _(r):
    from hubspot.utils.signature import Signature

    timestamp = str(r.at * 1000)
    signature = Signature.get_signature(r.secret, r.text, "v3", r.url, r.method, timestamp)
    return {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": timestamp}


@verify("workos")
def _(d):
    from workos.webhooks._verification import verify_header

    signature = d.header("workos-signature")
    verify_header(event_body=d.body, event_signature=signature, secret=d.secret)
    return True


@verify("coinbase-commerce")
def _(d):
    from coinbase_commerce.webhook import WebhookSignature

    return WebhookSignature.verify_sig_header(d.text, d.header("x-cc-webhook-signature"), d.secret)


@verify("sendgrid")
def _(d):
    from sendgrid.helpers.eventwebhook import EventWebhook

    prefix = "x-twilio-email-event-webhook"
    signature, at = d.header(f"{prefix}-signature"), d.header(f"{prefix}-timestamp")
    return EventWebhook(d.secret).verify_signature(d.text, signature, at)


@verify("elevenlabs")
def _(d):
    from elevenlabs.client import ElevenLabs

    client = ElevenLabs(api_key="unused")
    return client.webhooks.construct_event(d.text, d.header("elevenlabs-signature"), d.secret)


def modern_treasury():
    from modern_treasury import ModernTreasury

    return ModernTreasury(api_key="unused", organization_id="unused").webhooks


@verify("modern-treasury")
def _(d):
    return modern_treasury().validate_signature(d.text, d.headers, key=d.secret)


@sign("modern-treasury")
def _(r):
    return {"x-signature": modern_treasury().get_signature(r.text, key=r.secret)}


@verify("smartcar")
def _(d):
    from smartcar import verify_payload

    return verify_payload(d.secret, d.header("sc-signature"), d.text)


@sign("smartcar")
def _(r):
    from smartcar import hash_challenge

    return {"sc-signature": hash_challenge(r.secret, r.text)}


@verify("slack_sdk")
def _(d):
    from slack_sdk.signature import SignatureVerifier

    return SignatureVerifier(d.secret).is_valid_request(d.body, d.headers)


@sign("slack_sdk")
def _(r):
    from slack_sdk.signature import SignatureVerifier

    verifier = SignatureVerifier(r.secret)
    signature = verifier.generate_signature(timestamp=str(r.at), body=r.body)
    return {"x-slack-request-timestamp": str(r.at), "x-slack-signature": signature}


@verify("twitchio")
def _(d):
    from twitchio.web.utils import verify_message

    async def body():
        return d.body

    headers = SimpleNamespace(get=lambda name, default: d.headers.get(name.lower(), default))
    request = SimpleNamespace(headers=headers, body=body)
    asyncio.run(verify_message(request=request, secret=d.secret))
    return True


@verify("boxsdk")
def _(d):
    from box_sdk_gen.managers.webhooks import WebhooksManager

    return WebhooksManager.validate_message(d.text, d.headers, d.secret)


@verify("twilio form")
def _(d):
    from twilio.request_validator import RequestValidator

    return RequestValidator(d.secret).validate(d.url, d.form(), d.header("x-twilio-signature"))


@sign("twilio form")
def _(r):
    from twilio.request_validator import RequestValidator

    signature = RequestValidator(r.secret).compute_signature(r.url, r.form())
    return {"x-twilio-signature": signature}


@verify("twilio json")
def _(d):
    from twilio.request_validator import RequestValidator

    return RequestValidator(d.secret).validate(d.url, d.text, d.header("x-twilio-signature"))


@verify("django-anymail mandrill")
def _(d):
    return anymail(d, "mandrill", "MandrillCombined", webhook_key=d.secret, webhook_url=d.url)


def anymail(d, module, view, **options):
    from django.conf import settings
    from django.test import RequestFactory

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], DEFAULT_CHARSET="utf-8", ANYMAIL={})
    views = importlib.import_module(f"anymail.webhooks.{module}")
    names = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in d.headers.items()}
    kind = d.header("content-type")
    path = urlsplit(d.url).path
    request = RequestFactory().post(path, data=d.body, content_type=kind, **names)
    getattr(views, f"{view}WebhookView")(**options).validate_request(request)
    return True


@verify("mercadopago")
def _(d):
    from mercadopago.webhook.validator import WebhookSignatureValidator

    query = parse_qs(urlsplit(d.url).query)
    WebhookSignatureValidator.validate(
        d.headers.get("x-signature"), d.headers.get("x-request-id"), query["data.id"][0], d.secret
    )
    return True


@verify("stripe")
def _(d):
    import stripe

    stripe.Webhook.construct_event(d.body, d.header("stripe-signature"), d.secret)
    return True


@verify("mailgun")
def _(d):
    from mailgun.security import SecurityGuard

    fields = json.loads(d.text)["signature"]
    names = ("token", "timestamp", "signature")
    return SecurityGuard.verify_webhook(d.secret, *(fields[name] for name in names))


@verify("discord-interactions")
def _(d):
    from discord_interactions import verify_key

    signature, at = d.header("x-signature-ed25519"), d.header("x-signature-timestamp")
    return verify_key(d.body, signature, at, d.secret)


@verify("sinch")
def _(d):
    from sinch.domains.authentication.sinch_events.v1 import authentication_validation

    check = authentication_validation.validate_sinch_event_signature_with_nonce
    return check(d.secret, d.headers, d.text)


@verify("vonage-jwt")
def _(d):
    from vonage_jwt import verify_signature

    return verify_signature(d.header("authorization").removeprefix("Bearer "), d.secret)


@verify("plivo")
def _(d):
    from plivo.utils import validate_signature

    nonce, signature = d.header("x-plivo-signature-v2-nonce"), d.header("x-plivo-signature-v2")
    return validate_signature(d.url, nonce, signature, d.secret)


@verify("pusher")
def _(d):
    import pusher

    key = d.header("x-pusher-key")
    client = pusher.Pusher(app_id="1", key=key, secret=d.secret)
    return client.validate_webhook(key, d.header("x-pusher-signature"), d.text) is not None


@verify("razorpay")
def _(d):
    from razorpay.utility.utility import Utility

    return Utility().verify_webhook_signature(d.text, d.header("x-razorpay-signature"), d.secret)


def braintree(request):
    from braintree import BraintreeGateway, Configuration, Environment

    key = request.params["public_key"]
    return BraintreeGateway(Configuration(Environment.Sandbox, "unused", key, request.secret))


@verify("braintree")
def _(d):
    fields = d.form()
    braintree(d).webhook_notification.parse(fields["bt_signature"], fields["bt_payload"])
    return True


@sign("braintree")
def _(r):
    sample = braintree(r).webhook_testing.sample_notification("check", r.id)
    return {"body": urlencode(sample)}


@verify("telnyx")
def _(d):
    from telnyx.lib.webhook_verification import verify_webhook_signature

    verify_webhook_signature(d.body, d.headers, d.secret)
    return True


@verify("gocardless-pro")
def _(d):
    from gocardless_pro import webhooks

    webhooks.parse(d.text, d.secret, d.header("webhook-signature"))
    return True


@verify("squareup")
def _(d):
    from square.utils.webhooks_helper import verify_signature

    return verify_signature(
        request_body=d.text,
        signature_header=d.header("x-square-hmacsha256-signature"),
        signature_key=d.secret,
        notification_url=d.url,
    )


@verify("python-quickbooks")
def _(d):
    from quickbooks import QuickBooks

    client = QuickBooks(company_id="unused")
    return client.validate_webhook_signature(d.text, d.header("intuit-signature"), d.secret)


@verify("pywa")
def _(d):
    from pywa.utils import webhook_updates_validator

    return webhook_updates_validator(d.secret, d.body, d.header("x-hub-signature-256"))


@verify("gidgetlab")
def _(d):
    from gidgetlab.sansio import Event

    Event.from_http(d.headers, d.body, secret=d.secret)
    return True


@verify("easypost")
def _(d):
    from easypost.util import validate_webhook

    headers = {"X-Hmac-Signature": d.headers.get("x-hmac-signature")}
    validate_webhook(d.body, headers, d.secret)
    return True


def viber(secret):
    from viberbot import Api, BotConfiguration

    return Api(BotConfiguration(name="unused", avatar="", auth_token=secret))


@verify("viberbot")
def _(d):
    return viber(d.secret).verify_signature(d.body, d.header("x-viber-content-signature"))


@verify("livekit-api")
def _(d):
    from livekit.api import TokenVerifier, WebhookReceiver

    verifier = TokenVerifier(d.params["api_key"], d.secret)
    WebhookReceiver(verifier).receive(d.text, d.header("authorization"))
    return True


@sign("livekit-api")
def _(r):
    from livekit.api import AccessToken

    digest = base64.b64encode(hashlib.sha256(r.body).digest()).decode()
    token = AccessToken(r.params["api_key"], r.secret).with_sha256(digest)
    return {"authorization": token.to_jwt()}


@verify("truelayer-signing")
def _(d):
    from truelayer_signing import HttpMethod, verify_with_pem

    verifier = verify_with_pem(d.secret).set_method(HttpMethod.POST).set_path(urlsplit(d.url).path)
    verifier.add_headers(d.headers).set_body(d.text).verify(d.header("tl-signature"))
    return True


@sign("truelayer-signing")
def _(r):
    from truelayer_signing import HttpMethod, sign_with_pem

    at = datetime.fromtimestamp(r.at, timezone.utc).isoformat().replace("+00:00", "Z")
    headers = {"x-tl-webhook-timestamp": at}
    signer = sign_with_pem("hookgate", r.secret).set_method(HttpMethod.POST)
    signer.set_path(urlsplit(r.url).path).add_headers(headers).set_body(r.text)
    return {**headers, "tl-signature": signer.sign()}


@verify("retell-sdk")
def _(d):
    from retell.lib.webhook_auth import verify as check

    return check(d.text, d.secret, d.header("x-retell-signature"))


@sign("retell-sdk")
def _(r):
    from retell.lib.webhook_auth import symmetric

    return {"x-retell-signature": symmetric["sign"](r.text, r.secret)}


@verify("onfido-python")
def _(d):
    from onfido import WebhookEventVerifier

    WebhookEventVerifier(d.secret).read_payload(d.text, d.header("x-sha2-signature"))
    return True


@verify("pycronofy")
def _(d):
    from pycronofy import Client

    hmac = d.header("cronofy-hmac-sha256")
    return Client(client_secret=d.secret).hmac_valid(hmac, d.text)


@verify("hook0-client")
def _(d):
    from hook0.signature import verify_webhook_signature

    signature = d.header("x-hook0-signature")
    return verify_webhook_signature(signature, d.body, d.headers, d.secret, 300)


def find(table, fields):
    for suffix in (fields["name"], fields.get("variant")):
        if f"{fields['package']} {suffix}" in table:
            return table[f"{fields['package']} {suffix}"]
    return table.get(fields["package"])


def respond(fields):
    if fields["op"] == "sign":
        signed = find(SIGN, fields)(Request(fields))
        body = signed.pop("body", None)
        encoded = base64.b64encode(body.encode()).decode() if body is not None else None
        return {"headers": list(signed.items()), "body": encoded}
    function = find(VERIFY, fields)
    if function is None:
        return {"error": f"no function verifies for {fields['package']}"}
    try:
        return {"accepted": bool(function(Request(fields)))}
    except ImportError:
        raise
    except Exception as error:
        return {"accepted": False, "error": repr(error)}


def main():
    logging.disable(logging.CRITICAL)
    # The libraries print notices. Only responses may go to the standard output.
    output = os.fdopen(os.dup(1), "w")
    sys.stdout = sys.stderr = open(os.devnull, "w")
    for line in sys.stdin:
        try:
            response = respond(json.loads(line))
        except Exception as error:
            response = {"error": repr(error)}
        output.write(json.dumps(response) + "\n")
        output.flush()


main()
