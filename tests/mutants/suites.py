"""The tests of an area, and their runs against mutants."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

import build

# Tests that take at most so many seconds of a processor together run before the others.
QUICK = 1.0
# A mutant may allocate without end.
MEMORY = 8 << 30
# The seconds that tests may take without a mutant.
LONGEST = 600


@dataclasses.dataclass
class Test:
    executable: str
    folder: pathlib.Path
    name: str
    # The duration grows while other programs use the processors. The processor time hardly does.
    seconds: float = 0.0
    processor_seconds: float = 0.0


class Suite:
    """The tests of an area in the build with all mutants."""

    def __init__(self, area, executables):
        self.tests = []
        self.turns = Turns()
        self.reaching = collections.defaultdict(list)
        skipped = area.get("skipped_tests", [])
        for target in build.test_targets(area):
            executable, folder = executables[target]
            listed = subprocess.run([executable, "--list", "--format", "terse"], cwd=folder, text=True,
                                    capture_output=True, check=True)
            self.tests += [Test(executable, folder, line.removesuffix(": test"))
                           for line in listed.stdout.splitlines() if line.endswith(": test")
                           and line.removesuffix(": test") not in skipped]

    def observe(self, jobs):
        """Runs each test alone without a mutant, to find the mutants whose code it reaches."""
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for test, reached in zip(self.tests, pool.map(observe, self.tests)):
                for number in reached:
                    self.reaching[number].append(test)
        # Tests that disturb each other would look as if they caught a mutant.
        for batch in batches(self.tests):
            if (ended := run(batch, {})) != "passed":
                sys.exit(f"without a mutant, these tests have {ended}: {', '.join(test.name for test in batch)}")

    def outcome(self, number):
        """Runs the tests that reach the mutant, the quick ones first."""
        variables = {"HOOKGATE_MUTANT": str(number)}
        for batch in batches(self.reaching[number]):
            with self.turns.shared():
                ended = run(batch, variables)
            if ended == "late":
                # Other programs may have delayed the tests. Only a mutant that also stops them when it
                # runs alone is caught.
                with self.turns.alone():
                    ended = run(batch, variables, patience=3)
            if ended != "passed":
                return "caught" if ended == "failed" else "timeout"
        return "missed"


class Turns:
    """Lets several mutants run at once, or one alone."""

    def __init__(self):
        self.changed = threading.Condition()
        self.running = 0
        self.waiting = 0

    @contextlib.contextmanager
    def shared(self):
        with self.changed:
            self.changed.wait_for(lambda: not self.waiting)
            self.running += 1
        try:
            yield
        finally:
            self.leave()

    @contextlib.contextmanager
    def alone(self):
        with self.changed:
            self.waiting += 1
            self.changed.wait_for(lambda: not self.running)
            self.running += 1
        try:
            yield
        finally:
            with self.changed:
                self.waiting -= 1
            self.leave()

    def leave(self):
        with self.changed:
            self.running -= 1
            self.changed.notify_all()


def observe(test):
    with tempfile.NamedTemporaryFile() as file:
        started = time.monotonic()
        ended, test.processor_seconds = measured_run([test], {"HOOKGATE_REACHED": file.name})
        test.seconds = time.monotonic() - started
        if ended != "passed":
            sys.exit(f"without a mutant, {test.name} of {test.executable} has {ended}")
        return {int(line) for line in file.read().split()}


def batches(tests):
    """Returns lists of tests of one executable, the quick ones first."""
    found = collections.defaultdict(list)
    total = 0.0
    for test in sorted(tests, key=lambda test: test.processor_seconds):
        total += test.processor_seconds
        found[total > QUICK, test.executable].append(test)
    return found.values()


def run(tests, variables, patience=1):
    """Returns "passed" or "failed", and ends at the first failure.

    Returns "timeout" if the tests use too much processor time, and "late" if they only last too long.
    """
    return measured_run(tests, variables, patience)[0]


def measured_run(tests, variables, patience=1):
    """Does the same, and also returns the processor time of the tests."""
    # A killed test leaves its folders, which would fill the disk.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return run_in(folder, tests, variables, patience)


def run_in(folder, tests, variables, patience):
    environment = {**os.environ, "RUST_BACKTRACE": "0", "PROPTEST_MAX_SHRINK_ITERS": "0",
                   "CARGO_MANIFEST_DIR": str(tests[0].folder), "TMPDIR": folder, **variables}
    process = subprocess.Popen([tests[0].executable, "--exact", "--test-threads", "4",
                                *(test.name for test in tests)], cwd=tests[0].folder, env=environment,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
    waiting = LONGEST
    if "HOOKGATE_MUTANT" in variables:
        waiting = patience * (30 + 5 * sum(test.seconds for test in tests))
        # A loop without end takes processor time; a lock that is never released takes none.
        computing = int(4 + 4 * sum(test.processor_seconds for test in tests))
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (computing, computing + 1))
    timed_out = threading.Event()
    timer = threading.Timer(waiting, lambda: (timed_out.set(), kill(process)))
    timer.start()
    failed = any(line.rstrip().endswith(b"FAILED") for line in process.stdout)
    if failed:
        kill(process)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    timer.cancel()
    # The tests may have started other programs.
    kill(process)
    return end(process, failed, timed_out.is_set()), usage.ru_utime + usage.ru_stime


def end(process, failed, timed_out):
    if failed:
        return "failed"
    if timed_out:
        return "late"
    if -process.returncode in (signal.SIGXCPU, signal.SIGKILL):
        return "timeout"
    return "failed" if process.returncode != 0 else "passed"


def kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
