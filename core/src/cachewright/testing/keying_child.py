"""The other process of a key maker's test: makes the keys of the same arguments once more.

Run as a script. Reads one pickled job from standard input, prints a JSON list of keys.
"""

from __future__ import annotations

import json
import pickle
import sys


def main() -> None:
    """Print the key of each value of the job on standard input."""
    path, rest = pickle.load(sys.stdin.buffer)  # written by the test that started this
    sys.path[:] = path
    info, values = pickle.loads(rest)
    maker = info.load()()
    sys.stdout.write(json.dumps([maker.value_key(value) for value in values]))


if __name__ == "__main__":
    main()
