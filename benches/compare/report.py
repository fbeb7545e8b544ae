"""Renders a comparison as a page of benches/records, and its table in the README."""

import statistics

from systems import ROOT

# Bytes of a body: deliveries in a round, connections. A round is short, so that other load on
# the machine affects every system in turn and is over in the next round.
SIZES = {1024: (10_000, 32), 65_536: (1_500, 16), 1_048_576: (160, 16)}
VERIFIES = {None: "nothing", "mac": "a MAC of the body", "signature": "signature, time",
            "all": "signature, time, replay"}
TABLE_START, TABLE_END = "<!-- figures -->\n", "<!-- end of figures -->\n"


def median(record, name, size, figure):
    """Returns the median of a figure over the rounds, or None without measurements."""
    runs = record["results"].get(name, {}).get(str(size))
    return statistics.median(run[figure] for run in runs) if runs else None


def ratio(own, others):
    """Returns the median of the ratios of each round.

    Other load on the machine slows both systems in a round, and the ratio cancels it.
    """
    return statistics.median(ours / theirs for ours, theirs in zip(own, others))


def costs(record, name, size):
    """Returns the CPU time of each round, in µs for each delivery."""
    return [run["cpu_us"] for run in record["results"].get(name, {}).get(str(size), [])]


def verifies(system):
    """Returns the table cell that says what a system verifies."""
    where = "" if system["forwards"] else "; in the receiver"
    return VERIFIES[system["verifies"]] + where


def cell(value):
    return "cannot" if value is None else f"{value:.0f}"


def update_readme(record, path):
    """Replaces the table between the markers of the README."""
    lines = ["| CPU time for each delivery, in µs | verifies | 1 KiB | 64 KiB | 1 MiB |",
             "|---|---|---|---|---|"]
    for name, system in record["systems"].items():
        if not name.endswith("TLS"):
            cells = " | ".join(cell(median(record, name, size, "cpu_us")) for size in SIZES)
            lines.append(f"| {name} | {verifies(system)} | {cells} |")
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(TABLE_START)
    _, after = rest.split(TABLE_END)
    table = "\n".join(lines)
    readme.write_text(f"{before}{TABLE_START}{table}\n\nFrom [the record of "
                      f"{record['date']}](benches/records/{path.name}), with throughput, latency "
                      f"and TLS.\n{TABLE_END}{after}")


def render(record):
    """Returns the record as a Markdown page."""
    lines = [
        f"# What a delivery costs: {record['date']}", "",
        f"Commit {record['commit']}; {record['machine']}. The figures are medians of "
        f"{record['rounds']} rounds, in which the systems run in turn. A ratio is the median of the "
        "ratios of the rounds. The system has one core; the load generator and the upstream (nginx) "
        "share the other.", "",
        *[f"* {name}: {version}" for name, version in record["versions"].items()],
        *[f"* {name} responded wrongly in {times} measurements, which were repeated"
          for name, times in record["repeated"].items()], "",
        "CPU time of the system for each delivery, in µs. The number in brackets is hookgate's CPU "
        "time divided by this system's.",
        "",
    ]
    for tls in (False, True):
        lines += render_systems(record, tls)
    if record["refusals"]:
        base = record["refusals"]["forwarded 1 KiB"]
        lines += ["## Refusing", "", "| delivery | µs | relative to forwarding |", "|---|---|---|"]
        for name, runs in record["refusals"].items():
            lines.append(f"| {name} | {statistics.median(runs):.1f} | {ratio(runs, base):.2f}× |")
        lines.append("")
    if record["tails"]:
        lines += render_tails(record["tails"])
    return "\n".join(lines)


def render_systems(record, tls):
    """Returns the table of the systems over plain TCP, or over TLS."""
    names = [name for name in record["systems"] if name.endswith("TLS") == tls]
    if not names:
        return []
    ours = "hookgate TLS" if tls else "hookgate"
    lines = [f"## {'With TLS' if tls else 'Plain'}", "",
             "| system | verifies | 1 KiB | 64 KiB | 1 MiB | 1 KiB a second | p50 µs | p99 µs | RSS MiB |",
             "|---|---|---|---|---|---|---|---|---|"]
    for name in names:
        system = record["systems"][name]
        cells = []
        for size in SIZES:
            theirs, own = costs(record, name, size), costs(record, ours, size)
            if not theirs:
                cells.append("cannot")
                continue
            has_ratio = name != ours and own and system["forwards"]
            in_brackets = f" ({ratio(own, theirs):.2f}×)" if has_ratio else ""
            cells.append(f"{statistics.median(theirs):.0f}{in_brackets}")
        cells += [cell(median(record, name, 1024, figure))
                  for figure in ("per_second", "p50_us", "p99_us", "rss_mib")]
        lines.append(f"| {name} | {verifies(system)} | {' | '.join(cells)} |")
    return lines + [""]


def render_tails(tails):
    """Returns the table of latencies at half of hookgate's maximum rate."""
    base = tails["p99_us"].get("nginx")
    lines = [f"## At {tails['rate']:.0f} deliveries a second", "",
             "Half of hookgate's maximum rate, at even intervals; bodies of 1 KiB.", "",
             "| system | p50 µs | p99 µs | relative to nginx |", "|---|---|---|---|"]
    for name, runs in tails["p99_us"].items():
        p50, p99 = statistics.median(tails["p50_us"][name]), statistics.median(runs)
        relative = f"{ratio(runs, base):.2f}×" if base else ""
        lines.append(f"| {name} | {p50:.0f} | {p99:.0f} | {relative} |")
    return lines + [""]
