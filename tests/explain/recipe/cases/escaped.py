"""Bodies that were escaped for HTML, URLs or logs, or printed as a literal."""

import time
from dataclasses import replace

from lab import app, folder, java, perl, proxy, send, shell, sql, tool

R = "body_escaped"


def logged(name):
    """The body as it is in the access log of nginx."""

    def change(delivery):
        log = folder() / f"{name.removeprefix('log-')}.log"
        log.write_bytes(b"") if log.exists() else None
        send(proxy("nginx.conf")[name], delivery, "/hooks/log")
        for _ in range(100):
            if text := log.read_bytes():
                break
            time.sleep(0.05)
        return replace(delivery, body=text.rstrip(b"\n"))

    return change


CASES = [
    ("php-htmlspecialchars-zendesk", "zendesk", app("php", "htmlspecialchars"), R, True,
     "PHP: htmlspecialchars($body)"),
    ("php-htmlentities-beel", "beel", app("php", "htmlentities"), R, True,
     "PHP: htmlentities($body) names letters, too"),
    ("python-html-escape-standard", "standard",
     tool("python3", "-c", "import html, sys; sys.stdout.write(html.escape(sys.stdin.read()))"),
     R, True, "Python: html.escape"),
    ("erb-html-razorpay", "razorpay", app("sinatra", "erb-h"), R, True, "Ruby: ERB's h"),
    ("go-html-github", "github-release", app("go", "html"), R, True,
     "Go: html.EscapeString writes &#34;"),
    ("mojo-xml-escape-square", "square", perl("xml-escape"), R, True, "Mojolicious: xml_escape"),
    ("node-encodeuri-calendly", "calendly", app("express", "encodeuri"), R, True,
     "Node.js: encodeURIComponent"),
    ("php-urlencode-videogen", "videogen", app("php", "urlencode"), R, True, "PHP: urlencode"),
    ("php-rawurlencode-meta", "meta", app("php", "rawurlencode"), R, True, "PHP: rawurlencode"),
    ("python-quote-plus-intercom", "intercom",
     tool("python3", "-c", "import sys, urllib.parse as u; sys.stdout.write(u.quote_plus(sys.stdin.read()))"),
     R, True, "Python: urllib.parse.quote_plus"),
    ("php-addslashes-paystack", "paystack", app("php", "addslashes"), R, True,
     "PHP: addslashes, as WordPress does to its input"),
    ("php-stripslashes-woocommerce", "woocommerce", app("php", "stripslashes"),
     R + " body_json_rewritten", False, "PHP: stripslashes breaks the escapes of the JSON"),
    ("flask-repr-zoom", "zoom", app("flask", "repr"), R, True, "Python: repr(request.data)"),
    ("flask-str-svix", "svix", app("flask", "str"), R, False,
     "Python: str(request.get_json()) is a literal of a dict"),
    ("express-inspect-hubspot", "hubspot", app("express", "inspect"), R, False,
     "Node.js: util.inspect(req.body) is a literal of JavaScript"),
    ("ruby-inspect-line", "line", app("sinatra", "inspect"), R + " body_json_wrapped", True,
     "Ruby: body.inspect, which is a JSON string, too"),
    ("ruby-hash-paystack", "paystack", app("sinatra", "hash"), R + " body_json_rewritten", False,
     "Ruby: the hash as it is printed"),
    ("java-map-string-svix", "svix", java("map-string"), R + " body_json_rewritten", False,
     "Java: toString() of a Map"),
    ("php-var-export-razorpay", "razorpay", app("php", "var_export"), R + " body_json_rewritten", False,
     "PHP: var_export of the decoded body"),
    ("go-quote-discord", "discord", app("go", "quote"), R + " body_json_wrapped", True,
     "Go: %q, which is a JSON string, too"),
    ("bash-printf-q-github", "github-ping", shell("printf %q \"$(cat)\""), R, True, "bash: printf %q"),
    ("nginx-log-slack", "slack", logged("log-plain"), R, True,
     "the body in an access log of nginx: \\x22 for quotes"),
    ("nginx-log-json-square", "square", logged("log-json"), R + " body_json_wrapped", True,
     "the body in a JSON access log of nginx"),
    ("quoted-printable-linear", "linear", perl("quoted-print"), R + " body_text_edited", True,
     "the body in a mail as quoted-printable"),
    ("sql-literal-razorpay", "razorpay",
     sql("quote_literal(:'body')"), R, True,
     "PostgreSQL: quote_literal"),
]
