"""Bodies that were cut off or doubled."""

from lab import app, body, folder, java, shell, sql, tool

R = "body_truncated"


def appended_twice(text):
    """Two runs of a script append to one file."""
    file = folder() / "log.json"
    file.unlink(missing_ok=True)
    for _ in range(2):
        with file.open("ab") as log:
            log.write(text)
    return file.read_bytes()


CASES = [
    ("varchar-255-github", "github-push", sql(":'body'::varchar(255)"), R, False,
     "PostgreSQL: a cast to varchar(255) cuts"),
    ("php-substr-woocommerce", "woocommerce", app("php", "substr"), R, False,
     "PHP: substr($body, 0, 255)"),
    ("php-strimwidth-intercom", "intercom", app("php", "mb_strimwidth"), R, False,
     "PHP: mb_strimwidth cuts and adds three dots"),
    ("aiohttp-first-part-stripe", "stripe", app("aiohttp", "first-part"), R, False,
     "aiohttp: content.read(256) returns the first part of the stream"),
    ("aiohttp-first-line-stripe", "stripe", app("aiohttp", "first-line"), R, False,
     "aiohttp: readline() reads the first line"),
    ("go-limit-reader-linear", "linear", app("go", "limit"), R, False,
     "Go: io.LimitReader without an error"),
    ("head-bytes-meta", "meta", tool("head", "-c", "300"), R, False, "head -c 300"),
    ("bash-read-sendgrid", "sendgrid", shell("IFS= read -r line; printf %s \"$line\""), R, False,
     "bash: read stops at the line feed"),
    ("java-char-count-line", "line", java("char-count"), R, False,
     "Java: the length in characters cuts the last bytes"),
    ("one-block-slack-command", "slack-command", tool("dd", "bs=128", "count=1", "status=none"), R, False,
     "dd reads one block of 128 bytes"),
    ("express-doubled-square", "square", app("express", "doubled"), R, True,
     "Node.js: both handlers collected the chunks"),
    ("append-twice-videogen", "videogen", body(appended_twice), R, True,
     "two runs appended to one file"),
    ("doubled-line-paddle", "paddle", shell("text=$(cat); printf '%s\\n%s' \"$text\" \"$text\""), R, True,
     "the body twice, in two lines"),
]
