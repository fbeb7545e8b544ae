"""Genuine deliveries, signed in the way that each provider documents.

Every secret is invented. The key pairs come from fixed numbers, so each run signs the same bytes.
"""

import base64
import hashlib
import hmac
import zlib
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from delivery import SIGNED_AT, Delivery

BODIES = Path(__file__).parent / "bodies"
T = str(SIGNED_AT)
HOST = "api.example.com"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

GITHUB = "kiosk-hook-b83d1f60c2e94a57"
STRIPE = "whsec_3vT8kQ1zRm6YpXw9Ld2NcF5bJhG7sUa4"
SLACK = "9e3c5a7081d24bf6a0c8e217d5943bf1"
SHOPIFY = "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"
STANDARD = "whsec_a2lvc2stc3RhbmRhcmQtd2ViaG9va3Mta2V5LTAx"
SVIX = "whsec_kR7Qp2vXcZ+1mTg/8sLwJhYdN4bE6uAf"
TWILIO = "e8b1c4d7f0a39265e8b1c4d7f0a39265"
SQUARE = "kW3nTz8QvR1xYb6LpM0cSg"
LINEAR = "lin_wh_T4vQ9xKm2ZcR8bLn6YwJ"
PADDLE = "pdl_ntfset_01kae7r2m9_Xv4TqZ8nLbRw2KcY"
RAZORPAY = "hafen-rzp-7Kq2vXm9"
ZENDESK = "Zm9yLXplbmRlc2sra2lvc2s="
ZOOM = "R8vKx2QzTn5LbWm1YpJc7g"
HUBSPOT = "4f7a1c93-8e2d-4b60-a5f1-7c3d9e0b2a48"
LINE = "d52b8e07f1c94a3680de7f12b5c4a933"
INTERCOM = "9c2e7b41-0d5f-4a83-b6e1-2f8d4c7a5b90"
WOOCOMMERCE = "xQ7!vT$2kLm9#Zr4&nB6wYc1%Kp"
MAILGUN = "7c1f0e9ab8d2436587c1f0e9ab8d2436-51356527-2a9c4e7f"
BEATAPI = "whsec_beat_c4a90d7f3e1b8265"
BEEL = "whsec_17d0c4b9e2f8a3657e1d9c0b4f8a2e6317d0c4b9e2f8a3657e1d9c0b4f8a2e63"
VIDEOGEN = "whsec_dmlkZW9nZW4tc2VjcmV0LW9mLXRoZS1raW9zaw=="
META = "a70fd2c94e8b1653a70fd2c94e8b1653"
CALENDLY = "Kc7RvQm2ZxT9bLn4YwJp6sHd8gFa1eUo3iXq5tWz0yA"
PAYSTACK = "sk_kiosk_4e8b1653a70fd2c94e8b1653"

ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
P256 = ec.derive_private_key(0x6B696F736B << 200 | 0x1F2E3D4C, ec.SECP256R1())
# Two primes of 1024 bits, found once with `openssl prime -generate -bits 1024`.
RSA = BODIES.parent / "rsa_primes.txt"


def body(name):
    return (BODIES / name).read_bytes()


def mac(key, message, encoding="hex", algorithm="sha256"):
    key = key if isinstance(key, bytes) else key.encode()
    digest = hmac.new(key, message, algorithm).digest()
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


def delivery(provider, secret, content, agent, *headers, content_type=JSON, **more):
    path = f"/hooks/{provider}"
    base = (
        ("Host", HOST),
        ("User-Agent", agent),
        ("Accept", "*/*"),
        ("Content-Type", content_type),
        ("Content-Length", str(len(content))),
    )
    more.setdefault("url", None)
    return Delivery(provider, secret, base + headers, content, **more)


def github(content, event, content_type=JSON):
    return delivery(
        "github", GITHUB, content, "GitHub-Hookshot/7e2a1c9",
        ("X-GitHub-Delivery", "5d1a7e30-c604-11f0-9b2e-8a4f6c1d2e3b"),
        ("X-GitHub-Event", event),
        ("X-GitHub-Hook-ID", "460511873"),
        ("X-Hub-Signature", "sha1=" + mac(GITHUB, content, algorithm="sha1")),
        ("X-Hub-Signature-256", "sha256=" + mac(GITHUB, content)),
        content_type=content_type,
    )


def stripe(content):
    signature = mac(STRIPE, f"{T}.".encode() + content)
    return delivery(
        "stripe", STRIPE, content, "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        ("Stripe-Signature", f"t={T},v1={signature},v0={'7' * 64}"),
        content_type="application/json; charset=utf-8",
    )


def slack(content, content_type=JSON):
    return delivery(
        "slack", SLACK, content, "Slackbot 1.0 (+https://api.slack.com/robots)",
        ("X-Slack-Request-Timestamp", T),
        ("X-Slack-Signature", "v0=" + mac(SLACK, f"v0:{T}:".encode() + content)),
        content_type=content_type,
    )


def shopify(content):
    return delivery(
        "shopify", SHOPIFY, content, "Shopify-Captain-Hook",
        ("X-Shopify-Topic", "orders/create"),
        ("X-Shopify-Hmac-Sha256", mac(SHOPIFY, content, "base64")),
        ("X-Shopify-Shop-Domain", "hafen.myshopify.com"),
        ("X-Shopify-Webhook-Id", "8c1b2d3e-4f50-4a61-b728-39c4d5e6f708"),
    )


def standard(content, provider="standard-webhooks", secret=STANDARD, name="webhook", agent="hooks/2.1"):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    event = "msg_2mT9vQx7ZcRk4LbW"
    signature = mac(key, f"{event}.{T}.".encode() + content, "base64")
    return delivery(
        provider, secret, content, agent,
        (f"{name}-id", event), (f"{name}-timestamp", T), (f"{name}-signature", f"v1,{signature}"),
    )


def twilio(content, url="https://api.example.com/hooks/twilio"):
    pairs = "".join(key + value for key, value in sorted(parse_qsl(content.decode(), keep_blank_values=True)))
    signature = mac(TWILIO, (url + pairs).encode(), "base64", "sha1")
    return delivery(
        "twilio", TWILIO, content, "TwilioProxy/1.1",
        ("X-Twilio-Signature", signature),
        ("I-Twilio-Idempotency-Token", "c1f0a2b4-7d3e"),
        content_type=FORM + "; charset=UTF-8", url=url,
    )


def square(content, url="https://api.example.com/hooks/square"):
    return delivery(
        "square", SQUARE, content, "Square Connect v2",
        ("x-square-hmacsha256-signature", mac(SQUARE, url.encode() + content, "base64")),
        ("square-environment", "Production"), url=url,
    )


def hubspot(content, url="https://api.example.com/hooks/hubspot", method="POST"):
    stamp = T + "000"
    signed = f"{method}{url}".encode() + content + stamp.encode()
    return delivery(
        "hubspot", HUBSPOT, content, "HubSpot Webhooks",
        ("X-HubSpot-Request-Timestamp", stamp),
        ("X-HubSpot-Signature-v3", mac(HUBSPOT, signed, "base64")),
        ("X-HubSpot-Signature-Version", "v1"),
        ("X-HubSpot-Signature", hashlib.sha256(HUBSPOT.encode() + content).hexdigest()),
        content_type="application/json;charset=utf-8", url=url, method=method,
    )


def zendesk(content):
    stamp = datetime.fromtimestamp(SIGNED_AT, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return delivery(
        "zendesk", ZENDESK, content, "Zendesk Webhook",
        ("X-Zendesk-Webhook-Signature", mac(ZENDESK, stamp.encode() + content, "base64")),
        ("X-Zendesk-Webhook-Signature-Timestamp", stamp),
    )


def hmac_of_body(provider, secret, content, agent, header, prefix="", encoding="hex", algorithm="sha256", more=(), content_type=JSON, params=None):
    """A delivery of a provider that signs the body alone."""
    value = prefix + mac(secret, content, encoding, algorithm)
    return delivery(
        provider, secret, content, agent, *more, (header, value),
        content_type=content_type, params=params or {},
    )


def stamped(provider, secret, content, agent, header, text, message, more=()):
    """A delivery of a provider that signs the time, too. `text` has a place for the signature."""
    value = text.format(mac(secret, message.encode() + content))
    return delivery(provider, secret, content, agent, *more, (header, value))


def mailgun(content):
    token = "b9d1f0c3a5e7428496d0b1c2e3f4a5968778695a4b3c2d1e0f"
    signature = mac(MAILGUN, (T + token).encode())
    content = content.replace(b"TOKEN", token.encode()).replace(b"SIGNATURE", signature.encode())
    return delivery("mailgun", MAILGUN, content, "mailgun/treq-24.9.1")


def discord(content):
    public = ED25519.public_key().public_bytes_raw().hex()
    return delivery(
        "discord", public, content, "Discord-Webhook/1.0 (+https://discord.com)",
        ("X-Signature-Ed25519", ED25519.sign(T.encode() + content).hex()),
        ("X-Signature-Timestamp", T),
    )


def sendgrid(content):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = P256.public_key().public_bytes(serialization.Encoding.DER, form)
    signature = P256.sign(T.encode() + content, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return delivery(
        "sendgrid", base64.b64encode(public).decode(), content, "SendGrid Event API",
        ("X-Twilio-Email-Event-Webhook-Signature", base64.b64encode(signature).decode()),
        ("X-Twilio-Email-Event-Webhook-Timestamp", T),
        content_type="application/json;charset=utf-8",
    )


def paypal(content):
    p, q = (int(line, 16) for line in RSA.read_text().split())
    private = rsa.rsa_recover_private_exponent(65537, p, q)
    key = rsa.RSAPrivateNumbers(
        p, q, private, rsa.rsa_crt_dmp1(private, p), rsa.rsa_crt_dmq1(private, q),
        rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(65537, p * q),
    ).private_key()
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    event, stamp, webhook = "b2f0c7d1-c604-11f0-8f3a-2d1e9c0b7a65", "2026-11-18T14:32:25Z", "4LM21875AB3021947"
    message = f"{event}|{stamp}|{webhook}|{zlib.crc32(content)}"
    signature = key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256())
    return delivery(
        "paypal", public, content, "PayPal/AUHD-214.0-58827480",
        ("PayPal-Transmission-Id", event),
        ("PayPal-Transmission-Time", stamp),
        ("PayPal-Auth-Algo", "SHA256withRSA"),
        ("PayPal-Cert-Url", "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-7a8ab4fe"),
        ("PayPal-Transmission-Sig", base64.b64encode(signature).decode()),
        params={"webhook_id": webhook},
    )


GENUINE = {
    "github-push": github(body("github-push.json"), "push"),
    "github-release": github(body("github-release.json"), "release"),
    "github-ping": github(body("github-ping.json"), "ping"),
    "github-form": github(
        urlencode({"payload": body("github-push.json").decode()}).encode(), "push", FORM
    ),
    "stripe": stripe(body("stripe-invoice.json")),
    "slack": slack(body("slack-message.json")),
    "slack-command": slack(body("slack-command.form"), FORM),
    "slack-action": slack(body("slack-action.form"), FORM),
    "shopify": shopify(body("shopify-order.json")),
    "shopify-bigint": shopify(body("shopify-bigint.json")),
    "standard": standard(body("standard-message.json")),
    "svix": standard(
        body("svix-message.json"), "svix", SVIX, "svix", "Svix-Webhooks/1.62.0 (sender-9YMgn; +https://www.svix.com/http-sender/)"
    ),
    "videogen": standard(body("videogen-video.json"), "videogen", VIDEOGEN, agent="VideoGen/1"),
    "twilio": twilio(body("twilio-sms.form")),
    "twilio-query": twilio(
        body("twilio-sms.form"), "https://api.example.com/hooks/twilio?store=oslo%20s&lang=nb"
    ),
    "square": square(body("square-payment.json")),
    "hubspot": hubspot(body("hubspot-contacts.json")),
    "hubspot-query": hubspot(
        body("hubspot-contacts.json"), "https://api.example.com/hooks/hubspot?team=salg&app=7"
    ),
    "zendesk": zendesk(body("zendesk-ticket.json")),
    "linear": hmac_of_body(
        "linear", LINEAR, body("linear-issue.json"), "Linear-Webhook", "Linear-Signature",
        more=(
            ("Linear-Delivery", "8f1c2d3e-4a5b-4c6d-9e7f-0a1b2c3d4e5f"),
            ("Linear-Event", "Issue"),
        ),
        content_type="application/json; charset=utf-8",
    ),
    "razorpay": hmac_of_body(
        "razorpay", RAZORPAY, body("razorpay-payment.json"), "Razorpay-Webhook/v1",
        "X-Razorpay-Signature", more=(("X-Razorpay-Event-Id", "N7kT1uVwXyZ2aB"),),
    ),
    "line": hmac_of_body(
        "line", LINE, body("line-message.json"), "LineBotWebhook/2.0", "x-line-signature",
        encoding="base64", content_type="application/json; charset=utf-8",
    ),
    "intercom": hmac_of_body(
        "intercom", INTERCOM, body("intercom-contact.json"), "intercom-parrot-service-client/1.0",
        "X-Hub-Signature", "sha1=", algorithm="sha1",
    ),
    "woocommerce": hmac_of_body(
        "woocommerce", WOOCOMMERCE, body("woocommerce-order.json"),
        "WooCommerce/9.4.2 Hookshot (WordPress/6.7.1)", "X-WC-Webhook-Signature",
        encoding="base64",
        more=(
            ("X-WC-Webhook-Source", "https://butikk.example.no/"),
            ("X-WC-Webhook-Topic", "order.updated"),
            ("X-WC-Webhook-ID", "7"),
        ),
    ),
    "meta": hmac_of_body(
        "meta", META, body("meta-message.json"), "facebookexternalua", "X-Hub-Signature-256",
        "sha256=", params={"verify_token": "kiosk-verify"},
        more=(("X-Hub-Signature", "sha1=" + mac(META, body("meta-message.json"), algorithm="sha1")),),
    ),
    "paystack": hmac_of_body(
        "paystack", PAYSTACK, body("paystack-charge.json"), "Paystack/2.0",
        "x-paystack-signature", algorithm="sha512",
    ),
    "paddle": stamped(
        "paddle", PADDLE, body("paddle-transaction.json"), "Paddle", "Paddle-Signature",
        f"ts={T};h1={{}}", f"{T}:",
    ),
    "calendly": stamped(
        "calendly", CALENDLY, body("calendly-invitee.json"), "Calendly-Webhooks/1.0",
        "Calendly-Webhook-Signature", f"t={T},v1={{}}", f"{T}.",
    ),
    "beel": stamped(
        "beel", BEEL, body("beel-invoice.json"), "BeeL-Webhooks/1.0", "BeeL-Signature",
        f"t={T},v1={{}}", f"{T}.", (("BeeL-Event-Id", "evt_8820"),),
    ),
    "beatapi": stamped(
        "beatapi", BEATAPI, body("beatapi-task.json"), "BeatAPI-Webhooks/1.0",
        "X-BeatAPI-Signature", "{}", f"{T}.",
        (("X-BeatAPI-Event", "task.failed"), ("X-BeatAPI-Timestamp", T)),
    ),
    "zoom": stamped(
        "zoom", ZOOM, body("zoom-meeting.json"), "Zoom Marketplace/1.0a", "x-zm-signature",
        "v0={}", f"v0:{T}:", (("x-zm-request-timestamp", T),),
    ),
    "mailgun": mailgun(body("mailgun-delivered.json")),
    "discord": discord(body("discord-event.json")),
    "sendgrid": sendgrid(body("sendgrid-events.json")),
    "paypal": paypal(body("paypal-capture.json")),
}
