"""Right secrets that were copied with additions or losses."""

from configured import (
    bash, command, env_file, given, js_yaml, npm_dotenv, python_dotenv, pyyaml, secret, sourced,
    split_lines, xargs_export,
)
from delivery import Delivery
from genuine import BEATAPI, LINEAR, STRIPE, body, hmac_of_body
from lab import dotnet

R = "secret_copied_badly"
# Nothing in what is left of the secret shows the loss.
UNSEEN = R + " secret_other"
# What is left has the form of an id.
NUMBER = UNSEEN + " secret_wrong_kind"


def razorpay(text):
    """A delivery with another secret."""
    return hmac_of_body(
        "razorpay", text, body("razorpay-payment.json"), "Razorpay-Webhook/v1", "X-Razorpay-Signature"
    )


def filtered(change):
    """A filter for bodies rewrites the secret."""
    return secret(lambda text: change(Delivery("", "", (), text.encode())).body.decode())


CASES = [
    ("env-file-quotes-stripe", "stripe", split_lines(env_file('SECRET="{}"\n')), R, True,
     "docker --env-file keeps the quotes"),
    ("env-file-single-quotes-slack", "slack", split_lines(env_file("SECRET='{}'\n")), R, True,
     "docker --env-file keeps the quotes"),
    ("env-file-comment-linear", "linear", split_lines(env_file("SECRET={} # production\n")), R, True,
     "docker --env-file keeps the comment"),
    ("env-file-blank-paddle", "paddle", split_lines(env_file("SECRET= {}\n")), R, True,
     "docker --env-file keeps the blank after ="),
    ("env-file-crlf-shopify", "shopify", split_lines(env_file("SECRET={}\r\nPORT=1\r\n")), R, True,
     "a file with CR LF"),
    ("bash-crlf-zoom", "zoom", sourced(env_file("SECRET={}\r\n")), R, True,
     "bash: source of a file with CR LF"),
    ("bash-dollar-woocommerce", "woocommerce", sourced(env_file('SECRET="{}"\n')), UNSEEN, False,
     "bash: $2 in double quotes was expanded"),
    ("dotenv-hash-woocommerce", "woocommerce", npm_dotenv(env_file("SECRET={}\n")), UNSEEN, False,
     "npm dotenv: # begins a comment"),
    ("xargs-quotes-razorpay", razorpay("kiosk-\\7Kq2'Xm9'-Rz"), xargs_export(env_file("SECRET={}\n")), UNSEEN,
     False, "bash: xargs removes quotes and backslashes"),
    ("bash-dollar-razorpay", razorpay("hafen$rzp$7Kq2vXm9"), sourced(env_file("SECRET={}\n")), UNSEEN, False,
     "bash: $rzp and $7 were expanded"),
    ("python-dotenv-razorpay", razorpay("hafen-${rzp}-7Kq2vXm9"), python_dotenv(env_file("SECRET={}\n")),
     UNSEEN, False, "python-dotenv: ${rzp} was expanded"),
    ("sed-ampersand-razorpay", razorpay("Kq2&vXm9&hafen"),
     bash("sed \"s/@SECRET@/$(cat $1)/\" <<<@SECRET@ | tr -d '\\n'"), R + " secret_placeholder", False,
     "sed: & in the replacement"),
    ("yaml-octal-razorpay", razorpay("01234567012345"), pyyaml("secret: {}\n"), NUMBER, False,
     "PyYAML: a secret of digits is an octal number"),
    ("yaml-underscores-razorpay", razorpay("4_815_162_342_108"), pyyaml("secret: {}\n"),
     NUMBER, False, "PyYAML: a number with underscores"),
    ("js-yaml-float-razorpay", razorpay("48151623e12"), js_yaml("secret: {}\n"), NUMBER, False,
     "js-yaml: a secret with an e is a float"),
    ("yaml-comment-razorpay", razorpay("hafen #rzp 7Kq2"), pyyaml("secret: {}\n"), UNSEEN, False,
     "PyYAML: a blank and # begin a comment"),
    ("python-repr-github", "github-push", secret(lambda text: str(text.encode())), R, True,
     "Python: str() of bytes writes b'…'"),
    ("json-dumps-calendly", "calendly", command("jq", "-R", "-j", "@json"), R, True,
     "jq without -r keeps the quotes"),
    ("whole-line-paddle", "paddle", secret("export PADDLE_SECRET={}".format), R, True,
     "the whole line of a script"),
    ("json-line-meta", "meta", secret('"app_secret": "{}",'.format), R, True,
     "a whole line of JSON"),
    ("label-zoom", "zoom", secret("Secret Token: {}".format), R, True,
     "the label of the page was copied, too"),
    ("bearer-hubspot", "hubspot", secret("Bearer {}".format), R, True, "Bearer was put in front"),
    ("bom-secret-slack", "slack", filtered(dotnet("file-with-bom")), R, True,
     ".NET: a file with a byte order mark"),
    ("zero-width-stripe", "stripe", secret(lambda text: text[:20] + "\u200b" + text[20:]), R, True,
     "a zero-width space from a chat"),
    ("nbsp-line", "line", secret("{}\u00a0".format), R, True, "a no-break space from a web page"),
    ("word-joiner-svix", "svix", secret("\u2060{}".format), R, True, "a word joiner from a web page"),
    ("smart-quotes-intercom", "intercom", secret("“{}”".format), R, True,
     "typographic quotes from a wiki"),
    ("backticks-razorpay", "razorpay", secret("`{}`".format), R, True, "backticks from Markdown"),
    ("braces-beel", "beel", secret("{{{}}}".format), R, True, "curly brackets around the secret"),
    ("comma-beatapi", "beatapi", secret("{},".format), R, True, "a comma at the end"),
    ("full-stop-zendesk", "zendesk", secret("{}.".format), R, True, "a full stop at the end"),
    ("wrapped-line-videogen", "videogen", command("fold", "-w", "32"), R, True,
     "a terminal broke the line, and the break was copied"),
    ("cut-start-stripe", "stripe", secret(lambda text: text[:6] + text[7:]), R, True,
     "one character is missing"),
    ("cut-end-slack", "slack", secret(lambda text: text[:-2]), R, True,
     "two hexadecimal digits are missing at the end"),
    ("cut-start-line", "line", secret(lambda text: text[1:]), R, True, "the first character is missing"),
    ("padding-lost-zendesk", "zendesk", secret(lambda text: text.rstrip("=")), R, True,
     "a double click did not select the ="),
    ("masked-stripe", "stripe", given(STRIPE[:10] + "•" * 20), R, False,
     "the page shows dots in place of the secret"),
    ("masked-linear", "linear", given(LINEAR[:7] + "****************" + LINEAR[-4:]), R, False,
     "a tool shows asterisks in place of the secret"),
    ("masked-dots-beatapi", "beatapi", given(BEATAPI[:11] + "..." + BEATAPI[-4:]), R, False,
     "the page shows an ellipsis in place of the secret"),
    ("doubled-shopify", "shopify", secret(lambda text: text * 2), R, True, "pasted twice"),
    ("doubled-newline-razorpay", "razorpay", secret(lambda text: f"{text}\n{text}"), R, True,
     "pasted twice, in two lines"),
    ("percent-encoded-svix", "svix",
     command("python3", "-c", "import sys, urllib.parse as u; sys.stdout.write(u.quote(sys.stdin.read(), ''))"),
     R, True, "Python: quote() of the secret"),
    ("plus-blank-svix", "svix", command("php", "-r", "echo urldecode(file_get_contents('php://stdin'));"),
     R, True, "PHP: urldecode() makes a blank of +"),
    ("html-escaped-woocommerce", "woocommerce",
     command("php", "-r", "echo htmlspecialchars(file_get_contents('php://stdin'));"), R, True,
     "PHP: htmlspecialchars() of the secret"),
    ("upper-slack", "slack", command("tr", "a-f", "A-F"), R, True, "hexadecimal digits in capitals"),
    ("upper-hubspot", "hubspot", command("tr", "a-z", "A-Z"), R, True, "the UUID in capitals"),
    ("lower-linear", "linear", command("tr", "A-Z", "a-z"), UNSEEN, False, "all letters are small"),
    ("two-in-one-github", "github-push", secret("{},kiosk-hook-previous-0a1b".format), UNSEEN, True,
     "two secrets in one variable, as while rotating"),
]
