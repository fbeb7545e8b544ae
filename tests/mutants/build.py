"""The build that contains all mutants, each behind a switch."""

import bisect
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from mutants import CARGO, ROOT

HERE = pathlib.Path(__file__).resolve().parent
STATE = ROOT / "target/mutants"
TREE = STATE / "tree"
SWITCHED = STATE / "switched"
# The compiler's message if a function has lost its `const`, which it needs.
CONSTANT = re.compile(r"^cannot call non-const .*?`(?:[^`]*::)?(\w+)`")
# Each build is complete, and a stopped one leaves nothing to the next.
ENVIRONMENT = {**os.environ, "CARGO_TARGET_DIR": str(STATE / "build"), "CARGO_PROFILE_DEV_DEBUG": "0",
               "CARGO_INCREMENTAL": "0"}


def build(areas, mutants):
    """Returns the executables of the tests by package and name, and marks the mutants without a switch."""
    STATE.mkdir(parents=True, exist_ok=True)
    for mutant in mutants:
        if mutant.has_hidden_type:
            mutant.outcome = "skipped"
    targets = {target for area in areas for target in test_targets(area)}
    packages = sorted({area["package"] for area in areas} | {package for package, _ in targets})
    names = sorted({name for _, name in targets})
    # The features are those of `make test`.
    command = [CARGO, "test", "--quiet", "--locked", "--no-run", "--message-format=json", "--workspace", "--all-features",
               *(part for name in names for part in ("--test", name))]
    while True:
        ranges = switch(packages, mutants)
        done = subprocess.run(command, cwd=TREE, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode == 0:
            return executables(messages)
        remove_unviable(messages, ranges, mutants)


def test_targets(area):
    """Returns the package and the name of each test target. A test of another package has its name first."""
    for test in area["tests"]:
        package, _, name = test.rpartition("/")
        package = package or area["package"]
        yield package, library_target(package) if name == "lib" else name


def library_target(package):
    """Returns the name of a target for the tests of a library. `--lib` would build those of every one."""
    return f"lib-of-{package}"


def switch(packages, mutants):
    """Writes the tree of the build, and returns the bytes of each mutant in its files."""
    shutil.rmtree(SWITCHED, ignore_errors=True)
    # A target directory of its own keeps the tool's build apart from that of the mutants.
    done = subprocess.run([CARGO, "run", "--quiet", "--locked", "--manifest-path", str(HERE / "Cargo.toml"),
                           "--target-dir", str(STATE / "tool"), "--", str(ROOT), str(SWITCHED)],
                          input=json.dumps([mutant.for_switch() for mutant in mutants
                                            if mutant.outcome is None]),
                          stdout=subprocess.PIPE, text=True, check=True)
    report = json.loads(done.stdout)
    for key, outcome in {"constant": "skipped", "unviable": "unviable"}.items():
        for number in report[key]:
            mutants[number].outcome = outcome
    for package in packages:
        folder = pathlib.Path("crates") / package.removeprefix("hookgate-")
        append(folder / "src/lib.rs", "#[doc(hidden)]\npub mod mutant_switch;\n")
        append(folder / "Cargo.toml", f'[[test]]\nname = "{library_target(package)}"\npath = "src/lib.rs"\n')
        shutil.copy(HERE / "mutant_switch.rs", SWITCHED / folder / "src")
    update_tree()
    return report["ranges"]


def append(file, text):
    to = SWITCHED / file
    if not to.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, to)
    with to.open("a") as opened:
        opened.write("\n" + text)


def update_tree():
    """Copies what has changed, so that cargo builds nothing anew without need."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, text=True, check=True)
    wanted = {name: ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}
    wanted |= {str(path.relative_to(SWITCHED)): path for path in SWITCHED.rglob("*") if path.is_file()}
    for name, source in wanted.items():
        target = TREE / name
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    for path in TREE.rglob("*"):
        if path.is_file() and str(path.relative_to(TREE)) not in wanted:
            path.unlink()


def executables(messages):
    """Returns the executables by package and target, with the folder of the package."""
    found = {}
    for message in messages:
        if message["reason"] == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
            folder = pathlib.Path(message["manifest_path"]).parent
            found["hookgate-" + folder.name, message["target"]["name"]] = message["executable"], folder
    return found


def remove_unviable(messages, ranges, mutants):
    """Marks the mutants with a compile error. Stops if an error is not in a mutant."""
    spans = {file: sorted((part["start"], part["end"], part["id"]) for part in parts)
             for file, parts in ranges.items()}
    errors = [message["message"] for message in messages
              if message["reason"] == "compiler-message" and message["message"]["level"] == "error"]
    found = {number for error in errors for number in innermost(error, spans)}
    needed = {match[1] for error in errors if (match := CONSTANT.search(error["message"]))}
    constant = {mutant.number for mutant in mutants if mutant.outcome is None and mutant.function in needed}
    if not found | constant:
        sys.exit("the build with all mutants has an error outside of them:\n"
                 + "\n".join(error["rendered"] for error in errors))
    for number in found | constant:
        mutants[number].outcome = "skipped" if number in constant else "unviable"
    print(f"{len(found | constant)} mutants have no switch, or do not compile", flush=True)


def innermost(error, spans):
    """Returns the mutant around the place of the error."""
    places = sorted(error["spans"], key=lambda span: not span["is_primary"])
    for place in places:
        parts = spans.get(place["file_name"], [])
        # The last part that starts before the place, and ends after it.
        for start, end, number in reversed(parts[:bisect.bisect(parts, (place["byte_start"] + 1,))]):
            if end >= place["byte_end"]:
                return [number]
    return []
