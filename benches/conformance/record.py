"""Writes the record: the receivers, a matrix for each provider, and the reasons."""

import re
import time

import peers

MARKS = {"pass": "yes", "fail": "**no**", "n/a": "–", "unseen": "?"}
# A row of a repeated event that a library leaves to the application.
LEFT = "app"
# A refusal with a status of 5xx.
ERROR = "5xx"
FAILED = [MARKS["fail"], ERROR]
LEGEND = f"""\
| cell | meaning |
|---|---|
| `{MARKS['pass']}` | the row passes |
| `{MARKS['fail']}` | the row fails |
| `{ERROR}` | the receiver refuses, but as an error of its own, so that a provider retries; the row fails |
| `{LEFT}` | a repeated event runs again; the library leaves the memory of events to the application |
| `{MARKS['n/a']}` | the row does not apply |

The receivers follow the documentation of their libraries, and remember no events, so `{LEFT}` is no fault of
a library. The requests of `signature-repeated`, `field-repeated`, `ahead-outside` and `timestamp-respelled`
have a genuine signature of their body. A receiver that accepts them runs no forged event; the page about
the rows names the risk."""
AGED = """\
`hookgate, memory, at its start` and `hookgate, memory, later` are one process. A memory store forgets its
events when its process ends, so the boot fence refuses deliveries that were signed before the start: status
503, and the provider tries again. The second column is tested as soon as the process accepts a delivery
of the age of `old-inside`, about five minutes after its start. GitHub signs no timestamp, so `old-inside` does
not apply, and one column is enough."""
SECRETS = """\
The receiver starts with an empty secret, or with a placeholder that was not expanded. The request is signed
with the same text, as anyone can sign it."""


def mark(peer, row):
    """Returns the cell of a row."""
    if row["verdict"] == "fail":
        runs_again = row["expected"] == peers.REPEATED and max(row["runs"] or [0]) > 1
        if runs_again and not peer.remembers:
            return LEFT
        statuses = {status or 0 for status in row["answered"]}
        if row["expected"] == peers.FORGED and all(400 <= status < 600 for status in statuses):
            return ERROR
    return MARKS[row["verdict"]]


def table(rows):
    header, *rest = rows
    lines = [header, ["---"] * len(header), *rest]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def receivers(verdicts):
    """Returns each library once, with its providers."""
    found = {}
    for peer in verdicts:
        if peer.has_secret:
            found.setdefault((peer.name, peer.library), []).append(peer.provider)
    lines = [["receiver", "version", "tested with"]]
    lines += [[name, library, ", ".join(providers)] for (name, library), providers in found.items()]
    return table(lines)


def matrix(provider, verdicts):
    """Returns the table of the receivers of one provider, without rows that apply to none."""
    verdicts = {peer: rows for peer, rows in verdicts.items() if peer.provider == provider}
    lines = [["row", *(peer.name for peer in verdicts)]]
    rows = next(iter(verdicts.values()))
    for row in rows:
        cells = [mark(peer, verdicts[peer][row]) for peer in verdicts]
        if set(cells) != {MARKS["n/a"]}:
            lines.append([f"`{row}`", *cells])
    marks = [[mark(peer, row) for row in rows.values()] for peer, rows in verdicts.items()]
    for title, cells in [("rows that fail", FAILED), ("left to the application", [LEFT])]:
        lines.append([title, *(str(sum(map(one.count, cells))) for one in marks)])
    return f"## {provider}\n\n" + table(lines)


def reasons(verdicts):
    """Returns the reason of each failed row, once for all receivers that share it."""
    shared = {}
    for peer, rows in verdicts.items():
        for name, row in rows.items():
            if peer.has_secret and mark(peer, row) in FAILED:
                reason = re.sub(r"127\.0\.0\.1:\d+", "the receiver", row["reason"])
                shared.setdefault((name, reason), []).append(f"{peer.name} ({peer.provider})")
    lines = [["row", "reason", "receivers"]]
    lines += [[f"`{name}`", reason, "; ".join(names)]
              for (name, reason), names in sorted(shared.items())]
    return table(lines)


def started(secrets):
    lines = [["receiver", "provider", "an empty secret", "`${WEBHOOK_SECRET}`"]]
    lines += [[peer.name, peer.provider, *results] for peer, results in secrets.items()]
    return table(lines)


def text(commit, verdicts, secrets):
    """Returns the record. `verdicts` has the rows of each receiver by their name."""
    providers = dict.fromkeys(peer.provider for peer in verdicts)
    parts = [
        f"# Receivers and `hookgate conform`, {time.strftime('%F')}",
        f"`make conformance`, commit {commit}. [docs/conformance.md](../../docs/conformance.md) "
        "describes the rows.",
        receivers(verdicts), LEGEND, *([AGED] if any(peer.earlier for peer in verdicts) else []),
        *(matrix(provider, verdicts) for provider in providers),
        "## Why rows fail", "The controls are left out.", reasons(verdicts),
        "## Started with an unusable secret", SECRETS, started(secrets),
    ]
    return "\n\n".join(parts) + "\n"
