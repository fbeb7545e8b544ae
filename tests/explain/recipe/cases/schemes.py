"""Deliveries that another scheme has signed than the configured one."""

import base64
from dataclasses import replace

from genuine import (
    GENUINE, GITHUB, body, delivery, hmac_of_body,
)
from lab import direct

PROVIDER, VARIANT = "other_provider", "other_variant"


def configured(provider, variant=None, **more):
    """The receiver is configured for another provider or variant."""
    return lambda given: replace(given, provider=provider, variant=variant, **more)


def without(name):
    return lambda given: given.with_header(name, None)


PUSH = body("github-push.json")
GITEA = hmac_of_body(
    "gitea", GITHUB, PUSH, "Go-http-client/1.1", "X-Gitea-Signature",
    more=(("X-Gitea-Delivery", "f6266f16-1bf3-46a5-9ea4-602e06ead473"), ("X-Gitea-Event", "push")),
)
BITBUCKET = hmac_of_body(
    "bitbucket", GITHUB, PUSH, "Bitbucket-Webhooks/2.0", "X-Hub-Signature", "sha256=",
    more=(("X-Event-Key", "repo:push"), ("X-Request-UUID", "8f1c2d3e-4a5b-4c6d")),
)
GITLAB = delivery(
    "gitlab", GITHUB, PUSH, "GitLab/17.5.1", ("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Token", GITHUB),
)
NOTION = hmac_of_body(
    "notion", "secret_tX4vQ9mK2zR8bL6n", body("standard-message.json"), "notion-api", "X-Notion-Signature",
    "sha256=",
)
PAGERDUTY = hmac_of_body(
    "pagerduty", "pgH7kQ2vXm9ZrT4bL6nW", body("svix-message.json"), "PagerDuty-Webhook/V3.0",
    "X-PagerDuty-Signature", "v1=",
)

CASES = [
    ("svix-as-stripe", "svix", [direct("express"), configured("stripe")], PROVIDER, True,
     "Svix (Clerk, Resend) was signed, and Stripe is configured"),
    ("slack-as-zoom", "slack", [direct("express"), configured("zoom")], PROVIDER, True,
     "Slack was signed, and Zoom is configured"),
    ("shopify-as-woocommerce", "shopify", [direct("hono"), configured("woocommerce")], PROVIDER, True,
     "Shopify was signed, and WooCommerce is configured"),
    ("calendly-as-stripe", "calendly", [direct("fastapi"), configured("stripe")], PROVIDER, True,
     "Calendly was signed, and Stripe is configured"),
    ("gitea-as-github", GITEA, [direct("express"), configured("github")], PROVIDER, True,
     "Gitea was signed, and GitHub is configured"),
    ("bitbucket-as-github", BITBUCKET, [direct("aiohttp"), configured("github")], PROVIDER + " " + VARIANT,
     True, "Bitbucket was signed, and GitHub is configured"),
    ("gitlab-as-github", GITLAB, [direct("express"), configured("github")], PROVIDER, True,
     "GitLab sent its token, and GitHub is configured"),
    ("line-as-razorpay", "line", [direct("express"), configured("razorpay")], PROVIDER, True,
     "LINE was signed, and Razorpay is configured"),
    ("paddle-as-stripe", "paddle", [direct("hono"), configured("stripe")], PROVIDER, True,
     "Paddle was signed, and Stripe is configured"),
    ("notion-as-github", NOTION, [direct("express"), configured("github")], PROVIDER, True,
     "Notion was signed, and GitHub is configured"),
    ("pagerduty-as-stripe", PAGERDUTY, [direct("fastapi"), configured("stripe")], PROVIDER, True,
     "PagerDuty was signed, and Stripe is configured"),
    ("intercom-as-linear", "intercom", [direct("express"), configured("linear")],
     PROVIDER, True, "Intercom was signed, and Linear is configured"),
    ("stripe-as-svix", "stripe", [direct("express"), configured("svix")], PROVIDER, True,
     "Stripe was signed, and Svix is configured"),
    ("github-sha1-only", "github-release", [without("X-Hub-Signature-256"), direct("express")],
     VARIANT + " " + PROVIDER, True, "only the signature with SHA-1 arrived"),
    ("hubspot-v1-only", "hubspot",
     [without("X-HubSpot-Signature-v3"), without("X-HubSpot-Request-Timestamp"), direct("flask"),
      lambda given: replace(given, url=GENUINE["hubspot"].url)],
     VARIANT + " header_missing", True, "only the signature of version 1 arrived"),
    ("twilio-json-variant", "twilio", configured("twilio", "json"), VARIANT, True,
     "the variant for JSON is configured, and a form was sent"),
    ("mailgun-form-variant", "mailgun", configured("mailgun", "form"), VARIANT, True,
     "the variant for forms is configured, and JSON was sent"),
    ("gitlab-signed-variant", GITLAB, [direct("express"), configured("gitlab", "signed", secret="whsec_" + base64.b64encode(GITHUB.encode()).decode())],
     VARIANT + " header_missing", False, "the variant with a signature is configured, and a token was sent"),
    ("svix-standard-variant", "svix", configured("svix", "standard"), VARIANT, True,
     "the variant with webhook-* is configured, and svix-* was sent"),
    ("hubspot-v2-variant", "hubspot", configured("hubspot", "v2"), VARIANT, True,
     "version 2 is configured, and version 3 was sent"),
]
