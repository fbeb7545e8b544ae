"""A receiver in Django with django-github-app, as its documentation shows it.

Usage: SECRET=… django_receiver.py. It prints its address. Its database is a file in the current folder.
"""

import os

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from werkzeug.serving import make_server

from runs import Runs

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "receiver.sqlite3"}},
    GITHUB_APP={"NAME": "conformance", "WEBHOOK_SECRET": os.environ["SECRET"]},
    INSTALLED_APPS=["django_github_app"],
    ROOT_URLCONF=__name__,
)
django.setup()

from django_github_app.routing import GitHubRouter  # noqa: E402, after the set-up
from django_github_app.views import SyncWebhookView  # noqa: E402

runs = Runs()
github = GitHubRouter()


@github.event("push")
def push(event, api, *args, **kwargs):
    if runs.run(event.data) != 204:
        raise RuntimeError("the first run of this event is a failure")


urlpatterns = [
    path("hooks", SyncWebhookView.as_view()),
    path("runs/<name>", lambda _, name: HttpResponse(runs.count(name))),
]

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    server = make_server("127.0.0.1", 0, get_wsgi_application(), threaded=True)
    print(f"listening on 127.0.0.1:{server.port}", flush=True)
    server.serve_forever()
