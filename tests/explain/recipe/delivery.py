"""A webhook delivery, as a sender makes it and as a receiver captures it."""

import base64
import gzip
from dataclasses import dataclass, field, replace

# The time of signing of every delivery, in seconds since the Unix epoch.
SIGNED_AT = 1795012345
# A larger body is stored compressed.
STORED_PLAIN = 8 * 1024


@dataclass(frozen=True)
class Delivery:
    """A delivery together with what the receiver has configured."""

    provider: str
    secret: str
    headers: tuple
    body: bytes
    at: int = SIGNED_AT
    url: str | None = None
    method: str = "POST"
    params: dict = field(default_factory=dict)
    variant: str | None = None
    more_secrets: tuple = ()

    def header(self, name):
        """Returns the value of the first header `name`, or None."""
        values = (value for key, value in self.headers if key.lower() == name.lower())
        return next(values, None)

    def with_header(self, name, value):
        """Replaces the value of the header `name` where it stands. None removes the header."""
        kept = [
            (key, value if key.lower() == name.lower() else old)
            for key, old in self.headers
        ]
        return replace(self, headers=tuple(pair for pair in kept if pair[1] is not None))

    def adding(self, *headers):
        """Appends headers."""
        return replace(self, headers=self.headers + headers)

    def fields(self):
        """Returns the fields of a case that describe the delivery."""
        fields = {
            "provider": self.provider,
            "variant": self.variant,
            "secret": self.secret,
            "headers": [list(pair) for pair in self.headers],
            "at": self.at,
            "url": self.url,
            "method": self.method,
            "params": self.params,
        }
        if self.more_secrets:
            fields["more_secrets"] = list(self.more_secrets)
        if len(self.body) > STORED_PLAIN:
            packed = gzip.compress(self.body, 9, mtime=0)
            fields["body_gzip_base64"] = base64.b64encode(packed).decode()
        else:
            fields["body_base64"] = base64.b64encode(self.body).decode()
        return fields
