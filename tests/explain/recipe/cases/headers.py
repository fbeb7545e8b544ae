"""Headers that were dropped, renamed, changed or repeated on the way."""

from dataclasses import replace

from genuine import GENUINE, SVIX, body, standard
from lab import apache, app, direct, haproxy, nginx, node

MISSING, ALTERED, REPEATED = "header_missing", "header_altered", "header_repeated"


def value(name, expression):
    """An expression of JavaScript makes the value of a header anew."""

    def change(delivery):
        given = replace(delivery, body=delivery.header(name).encode())
        text = node(f"(text) => String(({expression})(text))")(given).body.decode()
        return delivery.with_header(name, text)

    return change


def python(name, function):
    """A function of Python makes the value of a header anew."""
    return lambda delivery: delivery.with_header(name, function(delivery.header(name)))


def renamed(name, other):
    """The sender's library has another name for the header."""

    def change(delivery):
        headers = tuple((other if key == name else key, text) for key, text in delivery.headers)
        return replace(delivery, headers=headers)

    return change


# White-label Svix sends the fields of both schemes.
WHITE_LABEL = standard(body("svix-message.json"), "svix", SVIX, "svix", "Svix-Webhooks/1.62.0")
WHITE_LABEL = WHITE_LABEL.adding(
    *((name.replace("svix", "webhook"), text) for name, text in WHITE_LABEL.headers if name.startswith("svix-"))
)
OTHER = "v1,bm90LXRoZS1zYW1lLXNpZ25hdHVyZS1hcy1zdml4LTA="

CASES = [
    ("django-meta-github", "github-push", app("django", "meta"), MISSING, True,
     "Django: request.META has HTTP_X_HUB_SIGNATURE_256"),
    ("php-server-slack", "slack", app("php", "server"), MISSING, True,
     "PHP: $_SERVER has HTTP_X_SLACK_SIGNATURE"),
    ("rack-env-standard", "standard", app("sinatra", "raw"), MISSING, True,
     "Rack: the environment has HTTP_WEBHOOK_SIGNATURE"),
    ("cgi-environment-shopify", "shopify", apache("cgi", "/as/post-data"), MISSING, True,
     "CGI: the environment has HTTP_X_SHOPIFY_HMAC_SHA256"),
    ("nginx-underscores-linear", "linear",
     [renamed("Linear-Signature", "Linear_Signature"), nginx("default")], MISSING, False,
     "nginx drops a header with underscores"),
    ("nginx-few-headers-slack", "slack", nginx("few-headers"), MISSING, False,
     "nginx forwards the signature, and not the timestamp"),
    ("nginx-few-headers-svix", "svix", nginx("few-headers"), MISSING, False,
     "nginx forwards the signature and the timestamp, and not the id"),
    ("nginx-misnamed-shopify", "shopify", nginx("misnamed"), MISSING, False,
     "nginx: the variable of the header has a wrong name, so the header is empty"),
    ("haproxy-deleted-discord", "discord", haproxy("deleted"), MISSING, False,
     "HAProxy deletes the timestamp"),
    ("haproxy-deleted-square", "square",
     [haproxy("deleted"), lambda d: replace(d, url=GENUINE["square"].url)], MISSING, False,
     "HAProxy deletes the signature"),
    ("apache-unset-beatapi", "beatapi", apache("unset"), MISSING, False,
     "Apache: RequestHeader unset removes the timestamp"),
    ("apache-unset-videogen", "videogen", apache("unset"), MISSING, False,
     "Apache: RequestHeader unset removes webhook-id"),
    # Changed values
    ("haproxy-last-part-stripe", "stripe", haproxy("last-part"), ALTERED, False,
     "HAProxy: req.hdr splits at commas, so only v0=… is left"),
    ("haproxy-last-part-beel", "beel", haproxy("last-part"), ALTERED, False,
     "HAProxy: req.hdr splits at commas, so the timestamp is lost"),
    ("haproxy-last-part-standard", "standard", haproxy("last-part"), ALTERED, True,
     "HAProxy: req.hdr splits at commas, so v1, is lost"),
    ("haproxy-lower-shopify", "shopify", haproxy("lower"), ALTERED, False,
     "HAProxy: lower changes the case of base64"),
    ("haproxy-upper-github", "github-push", haproxy("lower"), ALTERED, True,
     "HAProxy: upper makes SHA256= of sha256="),
    ("haproxy-lower-id-svix", "svix", haproxy("lower"), ALTERED + " secret_other", False,
     "HAProxy: lower changes the case of svix-id"),
    ("haproxy-field-github", "github-push", haproxy("value-of-pair"), ALTERED, True,
     "HAProxy: field(2,=) drops sha256="),
    ("haproxy-field-line", "line", haproxy("value-of-pair"), ALTERED, True,
     "HAProxy: field(1,=) drops the padding of base64"),
    ("haproxy-field-paddle", "paddle", haproxy("value-of-pair"), ALTERED, False,
     "HAProxy: field(2,;) drops ts="),
    ("haproxy-base64-razorpay", "razorpay", haproxy("reencoded"), ALTERED, True,
     "HAProxy: the hex is encoded as base64"),
    ("haproxy-urlenc-zoom", "zoom", haproxy("reencoded"), ALTERED, True,
     "HAProxy: url_enc writes v0%3D"),
    ("haproxy-cut-github", "github-push", haproxy("cut"), ALTERED, False,
     "a column of 64 characters cuts the signature"),
    ("apache-quoted-github", "github-push", apache("quoted"), ALTERED, True,
     "Apache: RequestHeader edit puts quotes around the signature"),
    ("apache-quoted-zendesk", "zendesk", apache("quoted"), ALTERED, True,
     "Apache: RequestHeader edit puts single quotes around the signature"),
    ("apache-prefix-slack", "slack", apache("quoted"), ALTERED, True,
     "Apache: RequestHeader edit writes v1= for v0="),
    ("apache-append-linear", "linear", apache("merged"), ALTERED + " " + REPEATED, True,
     "Apache: RequestHeader append joins another value"),
    ("python-bytes-woocommerce", "woocommerce",
     python("X-WC-Webhook-Signature", lambda text: str(text.encode())), ALTERED, True,
     "Python: str() of bytes writes b'…'"),
    ("python-list-meta", "meta", python("X-Hub-Signature-256", lambda text: str([text])), ALTERED, True,
     "Python: str() of a list writes ['…']"),
    ("js-split-shopify", "shopify", value("X-Shopify-Hmac-Sha256", "(text) => text.split('=')[0]"),
     ALTERED, True, "JavaScript: split('=')[0] drops the padding"),
    ("js-base64-of-hex-linear", "linear",
     value("Linear-Signature", "(text) => Buffer.from(text, 'hex').toString('base64')"), ALTERED, True,
     "JavaScript: the signature became base64"),
    ("js-hex-of-base64-line", "line",
     value("x-line-signature", "(text) => Buffer.from(text, 'base64').toString('hex')"), ALTERED, True,
     "JavaScript: the signature became hex"),
    ("js-urlsafe-zendesk", "zendesk",
     value("X-Zendesk-Webhook-Signature", "(text) => Buffer.from(text, 'base64').toString('base64url')"),
     ALTERED, True, "JavaScript: the signature became base64url"),
    ("js-query-parser-svix", "svix",
     value("svix-signature", "(text) => new URLSearchParams('s=' + text).get('s')"), ALTERED, True,
     "JavaScript: a query parser makes blanks of the pluses"),
    ("js-v1-only-stripe", "stripe",
     value("Stripe-Signature", "(text) => text.split(',').find((part) => part.startsWith('v1='))"),
     ALTERED, False, "JavaScript: only v1=… of the header was kept"),
    ("js-json-parse-calendly", "calendly",
     value("Calendly-Webhook-Signature", "(text) => JSON.stringify(Object.fromEntries(text.split(',').map((p) => p.split('='))))"),
     ALTERED, True, "JavaScript: the header was parsed and written as JSON"),
    ("nginx-own-id-standard", "standard", nginx("own-values"), ALTERED + " secret_other", False,
     "nginx replaces webhook-id by its own request id"),
    # Repeated fields
    ("haproxy-added-github", "github-push", haproxy("added"), REPEATED, True,
     "HAProxy: add-header repeats the signature"),
    ("haproxy-added-slack", "slack", haproxy("added"), REPEATED, True,
     "HAProxy: add-header repeats the timestamp"),
    ("node-joined-meta", "meta",
     [lambda d: d.adding(("X-Hub-Signature-256", d.header("X-Hub-Signature-256"))),
      direct("express", "/joined/hooks/meta")], REPEATED + " " + ALTERED, True,
     "Node.js: req.headers joins a repeated header"),
    ("fetch-joined-zoom", "zoom",
     [lambda d: d.adding(("x-zm-signature", d.header("x-zm-signature"))), direct("hono")],
     REPEATED + " " + ALTERED, True, "Fetch API: Headers joins a repeated header"),
    ("white-label-svix", WHITE_LABEL, direct("express"), REPEATED, True,
     "Svix sends the fields of both schemes"),
    ("contradicting-svix", "svix",
     [lambda d: d.adding(("webhook-signature", OTHER)), direct("fastapi")], REPEATED, True,
     "a relay adds a signature of its own in the other scheme"),
]
