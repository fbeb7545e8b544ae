"""Right secrets that were decoded or encoded in a wrong way."""

import base64

from configured import bash, command, kubernetes, secret

R = "secret_decoding"
# The key may also be taken for a secret that was copied badly.
EITHER = R + " secret_copied_badly"


def decoded(text):
    return base64.b64decode(text.removeprefix("whsec_")).decode()


CASES = [
    ("decoded-videogen", "videogen", secret(decoded), R, True, "the key in place of its base64"),
    ("decoded-zendesk", "zendesk", command("base64", "-d"), R, True,
     "base64 -d of a secret that is used as text"),
    ("hex-key-standard", "standard", secret(lambda text: base64.b64decode(text[6:]).hex()), R, True,
     "the key in hex"),
    ("hex-key-svix", "svix", secret(lambda text: base64.b64decode(text[6:]).hex()), R, True,
     "the key in hex"),
    ("hex-of-text-github", "github-push", bash("xxd -p \"$1\" | tr -d '\\n'"), R, True,
     "xxd -p of the secret"),
    ("base64-of-github", "github-push", command("base64", "-w0"), R, True, "base64 of the secret"),
    ("base64-newline-slack", "slack", bash("cat \"$1\" <(echo) | base64 -w0"), R, True,
     "base64 of the secret with a line feed"),
    ("kubernetes-twice-linear", "linear", kubernetes("base64 -w0 \"$1\" | base64 -w0"), R, True,
     "Kubernetes: base64 in the manifest, twice"),
    ("kubernetes-twice-newline-shopify", "shopify",
     kubernetes("(cat \"$1\"; echo) | base64 -w0 | base64 -w0"), R, True,
     "Kubernetes: base64 twice, with a line feed"),
    ("base64-twice-razorpay", "razorpay", bash("base64 -w0 \"$1\" | base64 -w0"), R, True,
     "base64 of base64 of the secret"),
    ("prefix-dropped-stripe", "stripe", secret(lambda text: text.removeprefix("whsec_")), EITHER, True,
     "whsec_ was dropped"),
    ("prefix-dropped-linear", "linear", secret(lambda text: text.removeprefix("lin_wh_")), EITHER, True,
     "lin_wh_ was dropped"),
    ("prefix-dropped-shopify", "shopify", secret(lambda text: text.removeprefix("shpss_")), EITHER, True,
     "shpss_ was dropped"),
    ("prefix-added-slack", "slack", secret("whsec_{}".format), EITHER, True, "whsec_ was added"),
    ("base64-added-prefix-zoom", "zoom",
     secret(lambda text: "whsec_" + base64.b64encode(text.encode()).decode()), R, True,
     "the secret was put into the form of Standard Webhooks"),
    ("base64-public-key-discord", "discord",
     secret(lambda text: base64.b64encode(bytes.fromhex(text)).decode()), R, True,
     "the public key in base64 in place of hex"),
    ("hex-public-key-sendgrid", "sendgrid", secret(lambda text: base64.b64decode(text).hex()), R, True,
     "the public key in hex in place of base64"),
    ("url-safe-svix", "svix", secret(lambda text: text.replace("+", "-").replace("/", "_")), EITHER,
     True, "the secret in base64url"),
]
