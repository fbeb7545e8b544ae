"""Records broken deliveries: signs genuine ones, lets real tools break them, and writes down what
the receiver has.

    record.py recorded.json genuine.json
"""

import importlib
import json
import sys
from pathlib import Path

from genuine import GENUINE

KINDS = [path.stem for path in sorted((Path(__file__).parent / "cases").glob("*.py"))]


def record(kind):
    """Returns the cases of the module `cases.<kind>`."""
    rows = importlib.import_module(f"cases.{kind}").CASES
    for name, source, changes, accept, provable, cause in rows:
        delivery = GENUINE[source] if isinstance(source, str) else source
        for change in changes if isinstance(changes, list) else [changes]:
            delivery = change(delivery)
        yield {
            "name": name,
            **delivery.fields(),
            "cause": cause,
            "accept": accept.split(),
            "provable": provable,
        }


def write(path, cases):
    """Writes one case a line, so that a difference between two records is short."""
    lines = ",\n".join(json.dumps(case) for case in cases)
    Path(path).write_text(f"[\n{lines}\n]\n")


def main():
    recorded, genuine = sys.argv[1:]
    cases = [case for kind in KINDS for case in record(kind)]
    names = [case["name"] for case in cases]
    assert len(names) == len(set(names)), "two cases have the same name"
    write(recorded, cases)
    write(genuine, [{"name": name, **delivery.fields()} for name, delivery in GENUINE.items()])
    print(f"{len(cases)} cases of {len(KINDS)} kinds", file=sys.stderr)


if __name__ == "__main__":
    main()
