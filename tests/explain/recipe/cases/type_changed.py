"""Forms that became JSON or multipart, and JSON that became a form."""

from lab import app
from upload import curl

R = "body_type_changed"

CASES = [
    ("express-form-json-slack-command", "slack-command", app("express", "form-json"), R, True,
     "Express: JSON.stringify(req.body) of a form"),
    ("php-form-json-slack-command", "slack-command", app("php", "form-json"), R, True,
     "PHP: json_encode($_POST)"),
    ("flask-form-json-twilio", "twilio", app("flask", "form-json"), R, True,
     "Flask: json.dumps(request.form.to_dict())"),
    ("go-form-json-twilio", "twilio", app("go", "form-json"), R, True,
     "Go: json.Marshal(r.Form) has arrays"),
    ("sinatra-params-json-slack-action", "slack-action", app("sinatra", "params-json"), R, True,
     "Sinatra: params.to_json of a form with payload"),
    ("hono-parse-body-github-form", "github-form", app("hono", "parse-body"), R, True,
     "Hono: JSON.stringify(await c.req.parseBody())"),
    ("axios-params-videogen", "videogen", app("express", "json-as-form"), R, False,
     "JavaScript: new URLSearchParams(req.body) of JSON"),
    ("qs-json-zoom", "zoom", app("express", "json-as-qs"), R, False,
     "JavaScript: qs.stringify of JSON has brackets"),
    ("curl-form-file-square", "square", curl("-F", "payload=@{file};type=application/json"), R, True,
     "curl -F sends the body as a part of multipart/form-data"),
    ("curl-urlencode-linear", "linear", curl("--data-urlencode", "payload@{file}"),
     R + " body_escaped", True, "curl --data-urlencode payload@file"),
    ("curl-form-fields-twilio", "twilio",
     curl("-F", "From=+4791234567", "-F", "Body=Kjøp 2 & få 1", "-F", "To=+4759440000"), R, False,
     "curl -F sends some fields as multipart/form-data"),
]
