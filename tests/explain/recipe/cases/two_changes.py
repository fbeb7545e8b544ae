"""Deliveries with two changes at once."""

from cases.address import https
from cases.base64_encoded import api_gateway
from cases.compressed import TASK, sent_compressed, squeeze
from cases.headers import value
from cases.schemes import configured
from cases.timestamps import received_after
from configured import bash, command, env_file, secret, sourced, split_lines
from lab import apache, app, dotnet, haproxy, nginx, shell, tool

JSON, TEXT, CHARSET, ESCAPED = "body_json_rewritten", "body_text_edited", "body_charset", "body_escaped"
COPIED, DECODING, ALTERED = "secret_copied_badly", "secret_decoding", "header_altered"
TIME = "timestamp_too_old"

newline = shell("text=$(cat); printf '%s\\n' \"$text\"")

CASES = [
    ("flask-dumps-and-newline-github", "github-push", [app("flask", "dumps"), newline], f"{JSON} {TEXT}", True,
     "json.dumps, and a line feed at the end"),
    ("indent-and-crlf-standard", "standard", [app("express", "indent"), tool("unix2dos")],
     f"{JSON} {TEXT}", True, "JSON.stringify with an indent, and CR LF"),
    ("indent-and-bom-zoom", "zoom", [app("sinatra", "pretty"), dotnet("file-with-bom")],
     f"{JSON} {TEXT}", True, "JSON.pretty_generate, and a byte order mark"),
    ("php-pretty-and-crlf-line", "line", [app("php", "encode-pretty"), tool("unix2dos")],
     f"{JSON} {TEXT}", True, "JSON_PRETTY_PRINT, and CR LF"),
    ("dumps-and-latin1-zendesk", "zendesk", [app("django", "dumps-unicode"), tool("iconv", "-f", "utf-8", "-t", "latin1")],
     f"{JSON} {CHARSET}", True, "json.dumps, and Latin-1"),
    ("mojibake-and-dumps-square", "square", [app("express", "latin1"), app("flask", "dumps")],
     f"{JSON} {CHARSET}", True, "UTF-8 taken for Latin-1, and json.dumps"),
    ("html-and-newline-paddle", "paddle", [app("php", "htmlspecialchars"), newline], f"{ESCAPED} {TEXT}", True,
     "htmlspecialchars, and a line feed at the end"),
    ("stringify-and-html-razorpay", "razorpay", [app("flask", "dumps"), app("php", "htmlspecialchars")],
     f"{JSON} {ESCAPED}", True, "json.dumps, and htmlspecialchars"),
    ("stringify-and-base64-stripe", "stripe", [app("express", "stringify"), tool("base64", "-w0")],
     f"{JSON} body_base64", True, "JSON.stringify, and base64"),
    ("base64-twice-zoom", "zoom", [tool("base64", "-w0"), tool("base64", "-w0")], "body_base64", True,
     "base64 of base64"),
    ("gzip-and-base64-linear", "linear", [tool("gzip", "-9", "-n", "-c"), tool("base64", "-w0")],
     "body_base64 body_compressed", True, "gzip, and base64, as logs of AWS have it"),
    ("base64-and-event-meta", "meta", [app("sinatra", "generate"), api_gateway(1, True)],
     f"{JSON} body_base64 body_json_wrapped", True, "JSON written anew, and an event of API Gateway"),
    ("dumps-and-twice-videogen", "videogen", [app("flask", "dumps"), app("express", "text-twice")],
     f"{JSON} body_json_wrapped", True, "json.dumps, and JSON encoded twice"),
    ("log-and-escaped-square", "square", [app("fastify", "log"), app("php", "addslashes")],
     f"body_json_wrapped {ESCAPED}", True, "a JSON log, whose line was escaped once more"),
    ("bom-and-fold-calendly", "calendly", [dotnet("file-with-bom"), tool("fold", "-w", "80")], TEXT, True,
     "a byte order mark, and lines of 80 bytes"),
    ("gzip-and-dumps-beatapi", sent_compressed(TASK, squeeze(TASK.body)),
     [app("express", "raw"), app("flask", "app-json")], f"{JSON} body_compressed", False,
     "inflated by Express, and keys sorted by Flask"),
    # The body and the secret
    ("quotes-and-dumps-stripe", "stripe", [app("flask", "dumps"), split_lines(env_file('SECRET="{}"\n'))],
     f"{JSON} {COPIED}", True, "json.dumps, and quotes around the secret"),
    ("quotes-and-newline-slack", "slack", [newline, split_lines(env_file("SECRET='{}'\n"))],
     f"{TEXT} {COPIED}", True, "a line feed in the body, and quotes around the secret"),
    ("crlf-secret-and-stringify-meta", "meta", [app("express", "stringify"), sourced(env_file("SECRET={}\r\n"))],
     f"{JSON} {COPIED}", True, "JSON.stringify, and CR at the end of the secret"),
    ("base64-secret-and-bom-linear", "linear", [dotnet("file-with-bom"), command("base64", "-w0")],
     f"{TEXT} {DECODING}", True, "a byte order mark, and base64 of the secret"),
    ("prefix-and-newline-standard", "standard", [newline, secret(lambda text: text.removeprefix("whsec_") + " ")],
     f"{TEXT} {COPIED} {DECODING}", True, "a line feed, and a secret without whsec_ and with a blank"),
    ("quotes-and-base64-secret-razorpay", "razorpay", [bash("base64 -w0 \"$1\""), secret('"{}"'.format)],
     f"{DECODING} {COPIED}", True, "base64 of the secret, in quotes"),
    ("latin1-and-comment-paddle", "paddle",
     [tool("iconv", "-f", "utf-8", "-t", "latin1"), split_lines(env_file("SECRET={} # live\n"))],
     f"{CHARSET} {COPIED}", True, "Latin-1, and a comment after the secret"),
    # The body and the head
    ("prefix-lost-and-dumps-github", "github-release", [app("flask", "dumps"), haproxy("value-of-pair")],
     f"{JSON} {ALTERED}", True, "json.dumps, and sha256= lost"),
    ("quoted-signature-and-newline-zendesk", "zendesk", [newline, apache("quoted")], f"{TEXT} {ALTERED}", True,
     "a line feed, and quotes around the signature"),
    ("cgi-names-and-trim-sendgrid", "sendgrid", [app("php", "trim"), app("django", "meta")],
     f"{TEXT} header_missing", True, "the line feed was trimmed, and the headers have CGI names"),
    ("milliseconds-and-stringify-slack", "slack",
     [app("php", "encode-unicode"), value("X-Slack-Request-Timestamp", "(text) => Number(text) * 1000")],
     f"{JSON} timestamp_format", True, "PHP's JSON, and milliseconds"),
    # The address
    ("http-and-dumps-square", "square", [app("flask", "dumps"), nginx("flask-plain")], f"{JSON} url_mismatch", True,
     "json.dumps, and http in place of https"),
    ("http-and-quotes-twilio", "twilio", [nginx("django-plain"), secret("'{}'".format)],
     f"url_mismatch {COPIED}", True, "http in place of https, and quotes around the token"),
    ("method-and-newline-hubspot", "hubspot", [newline, nginx("method-put"), https],
     f"{TEXT} method_mismatch", True, "a line feed, and another method"),
    ("slash-and-crlf-secret-hubspot", "hubspot", [haproxy("trailing-slash"), https, secret("{}\r\n".format)],
     f"url_mismatch {COPIED}", True, "a slash at the end of the address, and CR LF at the end of the secret"),
    # The time
    ("late-and-dumps-paddle", "paddle", [app("flask", "dumps"), received_after(9000)], f"{JSON} {TIME}", True,
     "json.dumps, and a queue"),
    ("late-and-quotes-zoom", "zoom", [secret('"{}"'.format), received_after(5000)], f"{COPIED} {TIME}", True,
     "quotes around the secret, and a queue"),
    ("late-and-newline-svix", "svix", [newline, received_after(100000)], f"{TEXT} {TIME}", True,
     "a line feed, and a capture of yesterday"),
    # The provider
    ("other-provider-and-newline-slack", "slack", [newline, configured("zoom")],
     f"other_provider {TEXT}", True, "a line feed, and Zoom is configured"),
    ("other-provider-and-dumps-calendly", "calendly", [app("flask", "dumps"), configured("stripe")],
     f"other_provider {JSON}", True, "json.dumps, and Stripe is configured"),
]
