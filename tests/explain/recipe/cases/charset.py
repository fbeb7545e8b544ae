"""Bodies in another character encoding than the signed one."""

from lab import app, body, dotnet, java, perl, tool

R = "body_charset"


def nfc_to_nfd(text):
    import unicodedata

    return unicodedata.normalize("NFD", text.decode()).encode()


def ftfy(text):
    """ftfy repairs text that is not broken: it unifies typographic characters."""
    import ftfy as fixer

    return fixer.fix_text(text.decode()).encode()


CASES = [
    ("iconv-latin1-github", "github-push", tool("iconv", "-f", "utf-8", "-t", "iso-8859-1//TRANSLIT"),
     R, False, "iconv to Latin-1: the euro sign became EUR"),
    ("iconv-latin1-paddle", "paddle", tool("iconv", "-f", "utf-8", "-t", "latin1"), R, True,
     "iconv to Latin-1"),
    ("iconv-cp1252-github", "github-push", tool("iconv", "-f", "utf-8", "-t", "cp1252"), R, True,
     "iconv to windows-1252"),
    ("iconv-utf16-beel", "beel", tool("iconv", "-f", "utf-8", "-t", "utf-16"), R, True,
     "iconv to UTF-16 with a byte order mark"),
    ("dotnet-unicode-zendesk", "zendesk", dotnet("unicode"), R, True,
     ".NET: Encoding.Unicode.GetBytes"),
    ("java-utf16-line", "line", java("utf16-bytes"), R, True,
     "Java: getBytes(UTF_16), big endian with a byte order mark"),
    ("ruby-windows1252-square", "square", app("sinatra", "windows-1252"), R, True,
     "Ruby: encode('Windows-1252')"),
    ("php-mojibake-zoom", "zoom", app("php", "utf8_encode"), R, True,
     "PHP: UTF-8 taken for Latin-1 and encoded as UTF-8 again"),
    ("node-latin1-linear", "linear", app("express", "latin1"), R, True,
     "Node.js: buffer.toString('latin1')"),
    ("java-mojibake-calendly", "calendly", java("latin1-string"), R, True,
     "Java: new String(body, ISO_8859_1)"),
    ("cp1252-mojibake-standard", "standard",
     tool("python3", "-c", "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read().decode('cp1252').encode())"),
     R, True, "UTF-8 taken for windows-1252"),
    ("perl-double-utf8-intercom", "intercom", perl("double-utf8"), R, True,
     "Perl: UTF-8 encoded twice"),
    ("perl-print-paddle", "paddle", perl("wide-character"), R, True,
     "Perl: print of decoded text without a layer writes Latin-1"),
    ("node-ascii-square", "square", app("express", "ascii"), R, False,
     "Node.js: buffer.toString('ascii') clears the highest bits"),
    ("java-ascii-standard", "standard", java("ascii-string"), R, False,
     "Java: new String(body, US_ASCII) has U+FFFD"),
    ("fastapi-replace-line", "line", app("fastapi", "replace"), R, False,
     "Python: decode('ascii', 'replace') has U+FFFD"),
    ("fastapi-question-marks-github", "github-release", app("fastapi", "question-marks"), R, False,
     "Python: encode('ascii', 'replace') has question marks"),
    ("dotnet-ascii-beel", "beel", dotnet("ascii"), R, False,
     ".NET: Encoding.ASCII has question marks"),
    # What is left is complete JSON of another length.
    ("fastapi-ignore-zendesk", "zendesk", app("fastapi", "ignore"), R + " body_json_rewritten", False,
     "Python: decode('ascii', 'ignore') removes non-ASCII"),
    ("nfd-beel", "beel", body(nfc_to_nfd), R, True, "the file system stored NFD"),
    ("ftfy-quotes-linear", "linear", body(ftfy), R + " body_text_edited", False,
     "ftfy replaced typographic quotes"),
]
