"""Forms that were decoded and encoded anew."""

from lab import apache, app, dotnet, tool

R = "body_form_rewritten"

CASES = [
    ("express-qs-slack-command", "slack-command", app("express", "form-qs"), R, True,
     "Express: qs.stringify(req.body) writes %20 for +"),
    ("express-qs-slack-action", "slack-action", app("express", "form-qs"), R, True,
     "Express: qs.stringify(req.body) of a form with payload"),
    ("express-qs-github-form", "github-form", app("express", "form-qs"), R, True,
     "Express: qs.stringify(req.body) of a form with payload"),
    ("python-quote-slack-action", "slack-action",
     tool("python3", "-c",
          "import sys, urllib.parse as u; fields = u.parse_qsl(sys.stdin.read());"
          "sys.stdout.write(u.urlencode(fields, quote_via=u.quote))"), R, True,
     "Python: urlencode(fields, quote_via=quote) writes %20 and leaves / as it is"),
    ("ruby-sorted-slack-command", "slack-command", app("sinatra", "params-sorted"), R, False,
     "Ruby: URI.encode_www_form of sorted parameters"),
    ("go-values-slack-command", "slack-command", app("go", "values"), R, False,
     "Go: url.Values.Encode() sorts the fields"),
    ("cgi-query-string-slack-command", "slack-command", apache("cgi", "/as/query-string"),
     R + " header_missing", False, "CGI: $cgi->query_string has semicolons"),
    ("percent-decoded-slack-command", "slack-command", app("php", "urldecode"), R, True,
     "PHP: urldecode($body)"),
    ("percent-decoded-twilio", "twilio", app("php", "urldecode"), R, False,
     "PHP: urldecode($body), so the fields cannot be told apart"),
    ("payload-slack-action", "slack-action", app("express", "form-payload"), R + " body_type_changed",
     True, "Express: req.body.payload in place of the form"),
    ("payload-flask-github-form", "github-form", app("flask", "form-payload"), R + " body_type_changed",
     True, "Flask: request.form['payload'] in place of the form"),
    ("no-blanks-twilio", "twilio", app("flask", "form-no-blanks"), R, False,
     "Python: parse_qs drops the fields without a value"),
    ("trimmed-twilio", "twilio", app("php", "form-trimmed"), R, False,
     "PHP: a middleware trims the fields and drops the empty ones"),
    ("strip-twilio", "twilio", app("flask", "form-strip"), R, True,
     "Flask: the values were stripped of blanks"),
    ("dotnet-lower-case-slack-command", "slack-command", dotnet("form"), R, True,
     "ASP.NET: HttpUtility.UrlEncode of the fields writes %2f for %2F"),
    ("recoded-latin1-twilio", "twilio",
     tool("python3", "-c",
          "import sys, urllib.parse as u; fields = u.parse_qsl(sys.stdin.read(), True);"
          "sys.stdout.write(u.urlencode(fields, encoding='latin-1'))"),
     R + " body_charset", True, "the form was encoded anew in Latin-1"),
    ("field-added-twilio", "twilio",
     tool("python3", "-c", "import sys; sys.stdout.write(sys.stdin.read() + '&store=oslo')"),
     R, True, "a middleware added a field"),
]
