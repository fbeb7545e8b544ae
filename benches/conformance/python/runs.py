"""The application of the receivers in Python: it runs events, and counts the runs of each."""

import collections
import threading


class Runs:
    """The number of runs of each event."""

    def __init__(self):
        self.counts, self.lock = collections.Counter(), threading.Lock()

    def run(self, event):
        """Runs an event, and returns its status. The first run of some events is a failure."""
        with self.lock:
            self.counts[event["id"]] += 1
            fails = event["type"] == "conform.fail_once" and self.counts[event["id"]] == 1
        return 500 if fails else 204

    def count(self, name):
        with self.lock:
            return str(self.counts[name])
