"""Bodies that are empty, or stand-ins of an empty one."""

from lab import apache, app, nginx
from redirect import followed_redirect

R = "body_missing"

CASES = [
    ("flask-form-consumed-slack", "slack-command", app("flask", "form-then-data"), R, False,
     "Flask: get_data() after request.form"),
    ("flask-stream-consumed-linear", "linear", app("flask", "data-again"), R, False,
     "Flask: the stream was read before"),
    ("flask-silent-null-github", "github-form", app("flask", "silent"), R, False,
     "Flask: get_json(silent=True) of a form is None"),
    ("express-undefined-stripe", "stripe", app("express", "no-parser"), R, False,
     "Express 5: req.body without a parser is undefined"),
    ("express-object-object-svix", "svix", app("express", "string"), R, False,
     "Express: `${req.body}` is [object Object]"),
    ("express-wrong-type-zoom", "zoom", app("express", "wrong-type"), R, False,
     "Express: the parser is for another content type, so the body is {}"),
    ("koa-reread-square", "square", app("koa", "reread"), R, False,
     "Koa: the stream was read before"),
    ("sinatra-read-again-shopify", "shopify", app("sinatra", "read-again"), R, False,
     "Sinatra: request.body.read without rewind"),
    ("cgi-stdin-again-razorpay", "razorpay", apache("cgi", "/as/stdin-again"),
     R + " header_missing", False, "CGI: CGI.pm has consumed the body"),
    ("nginx-no-body-meta", "meta", nginx("no-body"), R, False, "nginx: proxy_pass_request_body off"),
    ("redirect-github", "github-push", followed_redirect, R, False,
     "curl follows a 301 with GET and without the body"),
]
