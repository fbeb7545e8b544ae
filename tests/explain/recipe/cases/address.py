"""Addresses and methods that differ from the signed ones."""

from dataclasses import replace

from genuine import body, hubspot, square, twilio
from lab import apache, direct, haproxy, nginx, node

R = "url_mismatch"
# An address of which little can be found out.
HARD = R + " secret_other"


def registered(url, sign=square, name="square-payment.json"):
    """A delivery to `url`, which the operator entered at the provider. The receiver is configured
    with the usual address."""
    delivery = sign(body(name), url)
    return replace(delivery, url=f"https://api.example.com/hooks/{delivery.provider}")


def sms(url):
    return registered(url, twilio, "twilio-sms.form")


def javascript(expression):
    """The address as an expression of JavaScript makes it."""

    def change(delivery):
        given = replace(delivery, body=delivery.url.encode())
        url = node(f"(text) => String(({expression})(text))")(given).body.decode()
        return replace(delivery, url=url)

    return change


def contacts(url):
    return registered(url, hubspot, "hubspot-contacts.json")


def https(delivery):
    """The application knows that TLS ends in front of it."""
    return replace(delivery, url=delivery.url.replace("http:", "https:"))


CASES = [
    ("flask-http-square", "square", nginx("flask-plain"), R, True,
     "Flask behind nginx: request.url has http, since TLS ends in front"),
    ("django-http-twilio", "twilio", nginx("django-plain"), R, True,
     "Django behind nginx: build_absolute_uri() has http"),
    ("express-http-hubspot", "hubspot", nginx("express-plain"), R, True,
     "Express behind nginx: req.protocol is http without trust proxy"),
    ("fastapi-http-twilio", "twilio", direct("fastapi"), R, True,
     "FastAPI behind a load balancer: request.url has http"),
    ("upstream-host-square", "square", nginx("forwarded-host"), R, True,
     "nginx: Host is the name of the upstream, the signed one is in X-Forwarded-Host"),
    ("upstream-host-lost-twilio", "twilio", nginx("default"), R, False,
     "nginx: Host is the name of the upstream, and nothing names the signed one"),
    ("haproxy-host-hubspot", "hubspot", haproxy("other-host"), R, True,
     "HAProxy: Host was replaced, the signed one is in X-Forwarded-Host"),
    ("host-port-square", "square", nginx("host-port"), R, True, "nginx: Host has the port 8443"),
    ("prefix-stripped-hubspot", "hubspot", nginx("prefix-stripped"), R, True,
     "nginx: the prefix /hooks was stripped, and X-Forwarded-Prefix names it"),
    ("express-mounted-square", registered("https://api.example.com/api/hooks/square"),
     direct("express", "/api/hooks/square"), R, True,
     "Express: req.url of a mounted router lacks the prefix /api"),
    ("prefix-added-twilio", "twilio", nginx("prefix-added"), R, True,
     "nginx: proxy_pass puts /internal in front of the path"),
    ("haproxy-path-square", "square", haproxy("path"), R, True,
     "HAProxy: replace-path adds /v2"),
    ("uri-variable-query-twilio", "twilio-query", nginx("uri-variable"), HARD, False,
     "nginx: proxy_pass with $uri drops the query"),
    ("rewrite-query-dropped-hubspot", "hubspot-query", apache("rewritten"), HARD, False,
     "Apache: a rewrite with QSD drops the query"),
    ("query-added-square", "square", nginx("query-added"), R, True,
     "nginx: a rewrite adds a query"),
    ("query-reordered-hubspot", "hubspot-query",
     javascript("(text) => { const url = new URL(text); url.searchParams.sort(); return url; }"), R, True,
     "JavaScript: searchParams.sort() orders the query"),
    ("query-encoding-twilio", "twilio-query",
     javascript("(text) => { const url = new URL(text); url.searchParams.delete('x'); return url; }"), R, True,
     "JavaScript: URLSearchParams writes + for %20"),
    ("query-case-twilio", sms("https://api.example.com/hooks/twilio?store=OsloS"),
     haproxy("query", "/hooks/twilio?store=OsloS"), R, False,
     "HAProxy: the query was changed to lower case"),
    ("trailing-slash-hubspot", "hubspot", haproxy("trailing-slash"), R, True,
     "a router redirects to the address with a slash"),
    ("slash-registered-twilio", sms("https://api.example.com/hooks/twilio/"), [], R, True,
     "the address at the provider ends with a slash"),
    ("www-registered-hubspot", contacts("https://www.api.example.com/hooks/hubspot"), [], R, True,
     "the address at the provider has www."),
    ("port-registered-twilio", sms("https://api.example.com:8443/hooks/twilio"), [], HARD, False,
     "the address at the provider has the port 8443"),
    ("http-registered-square", registered("http://api.example.com/hooks/square"), [], R, True,
     "the address at the provider has http"),
    ("case-registered-square", registered("https://api.example.com/Hooks/Square"), [], HARD, False,
     "the path at the provider has capital letters"),
    ("tunnel-host-square", registered("https://7c1f-198-51-100-7.tunnel.example/hooks/square"), [],
     HARD, False, "the provider calls a tunnel, and the receiver knows the public name"),
    ("double-slash-hubspot", contacts("https://api.example.com//hooks/hubspot"), [], R, True,
     "the address at the provider has two slashes"),
    ("nginx-method-hubspot", "hubspot", [nginx("method-put"), https],
     "method_mismatch", True, "nginx: proxy_method PUT"),
    ("haproxy-method-hubspot", "hubspot-query", [haproxy("method"), https],
     "method_mismatch", True, "HAProxy: set-method PUT"),
    ("override-method-hubspot", "hubspot",
     [lambda d: d.adding(("X-HTTP-Method-Override", "PATCH")), direct("express", "/override/hooks/hubspot"),
      lambda d: replace(d, url="https://api.example.com/hooks/hubspot")],
     "method_mismatch", True, "Express: method-override changes req.method"),
]
