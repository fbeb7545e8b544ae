"""Bodies whose text was edited, while the tokens of the JSON are as they were."""

from lab import app, body, dotnet, folder, perl, run, shell, tool
from upload import curl

R = "body_text_edited"


def git(text):
    """Commits the body and checks it out with core.autocrlf."""
    repository = folder() / "repository"
    file = repository / "event.json"
    setup = ["git", "-c", "init.defaultBranch=main", "init", "-q", repository]
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    in_repository = ["git", "-C", repository]
    run(setup)
    file.write_bytes(text)
    run([*in_repository, "add", "event.json"])
    run([*in_repository, *identity, "commit", "-q", "-m", "Add the event"])
    file.unlink()
    run([*in_repository, "-c", "core.autocrlf=true", "checkout", "event.json"])
    return file.read_bytes()


def jinja(text):
    """Renders the body as a template, which drops the line feed at the end."""
    from jinja2 import Template

    return Template(text.decode()).render().encode()


def smartypants(text):
    import smartypants as smart

    return smart.smartypants(text.decode(), smart.Attr.q | smart.Attr.u).encode()


def edit_in_sed(text):
    file = folder() / "edited.json"
    file.write_bytes(text)
    run(["sed", "-i", "-e", "$a\\", file])
    return file.read_bytes()


CASES = [
    ("unix2dos-stripe", "stripe", tool("unix2dos"), R, True, "unix2dos: LF became CR LF"),
    ("git-autocrlf-stripe", "stripe", body(git), R, True, "git checked it out with core.autocrlf"),
    ("dos2unix-sendgrid", "sendgrid", tool("dos2unix"), R, True, "dos2unix: CR LF became LF"),
    ("editor-newline-square", "square", body(edit_in_sed), R, True,
     "an editor adds a line feed at the end of the file"),
    ("echo-newline-linear", "linear", shell('text=$(cat); echo "$text"'), R, True,
     "echo adds a line feed"),
    ("ruby-puts-razorpay", "razorpay", app("sinatra", "puts"), R, True, "Ruby: puts adds a line feed"),
    ("ruby-crlf-stripe", "stripe", app("sinatra", "lines"), R, True, "Ruby: line feeds became CR LF"),
    ("php-trim-sendgrid", "sendgrid", app("php", "trim"), R, True,
     "PHP: trim($body) removes the CR LF at the end"),
    ("command-substitution-sendgrid", "sendgrid", shell('printf %s "$(cat)"'), R, True,
     "command substitution of the shell removes the line feed at the end"),
    ("perl-chomp-sendgrid", "sendgrid", perl("chomp"), R, True, "Perl: chomp"),
    ("dotnet-bom-meta", "meta", dotnet("file-with-bom"), R, True,
     ".NET: File.WriteAllText with Encoding.UTF8 writes a byte order mark"),
    ("dotnet-writeline-zoom", "zoom", dotnet("write-line"), R, True, ".NET: Console.WriteLine adds CR LF"),
    ("fold-beel", "beel", tool("fold", "-w", "76"), R, True, "fold -w 76"),
    ("fold-words-github", "github-push", tool("fold", "-s", "-w", "80"), R, True, "fold -s -w 80"),
    ("curl-data-sendgrid", "sendgrid", curl("--data", "@{file}"), R + " body_json_rewritten", True,
     "curl --data @file removes CR and LF"),
    ("join-lines-stripe", "stripe", perl("one-line"), R + " body_json_rewritten", True,
     "a script joins the lines without their indent"),
    ("smart-quotes-paystack", "paystack", body(smartypants), R, True,
     "a word processor made typographic quotes"),
    ("jinja-sendgrid", "sendgrid", body(jinja), R, True, "Jinja drops the line feed at the end"),
    ("unexpand-tabs-stripe", "stripe", tool("unexpand", "-t", "2"), R + " body_json_rewritten", True,
     "an editor turned the indent into tabs"),
]
