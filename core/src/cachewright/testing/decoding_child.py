"""The other process of a serializer's test: decodes hostile frames under an audit hook.

Run as a script. Reads one pickled job from standard input, prints what should not have happened.
"""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from importlib.util import find_spec
from typing import Any

from cachewright.testing.tripwire import EVENT

FORBIDDEN = (
    "import",
    "compile",
    "exec",
    "open",
    "builtins.",
    "code.",
    "ctypes.",
    "ftplib.",
    "function.",
    "marshal.",
    "os.",
    "pty.",
    "shutil.",
    "socket.",
    "subprocess.",
    "tempfile.",
    "urllib.",
    "webbrowser.",
    EVENT,
)
"""Audit events, and prefixes of such ending in a dot, that decoding data never has a reason for."""


def is_forbidden(event: str, allowed: frozenset[str]) -> bool:
    """Tell whether an audit event means that something ran, was imported, opened or started."""
    if event in allowed:
        return False
    return any(event == name or (name.endswith(".") and event.startswith(name)) for name in FORBIDDEN)


def main() -> None:
    """Decode every payload; print a JSON list of [number of the payload, event, first argument]."""
    path, rest = pickle.load(sys.stdin.buffer)  # written by the test that started this
    sys.path[:] = path
    info, warm, allowed, examples, payloads = pickle.loads(rest)
    for module in warm:
        if find_spec(module.partition(".")[0]) is not None:
            importlib.import_module(module)
    serializer = info.load()()
    for frames in examples:
        serializer.loads([memoryview(frame) for frame in frames])
    seen: list[tuple[int, str, str]] = []
    current = -1

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if current >= 0 and is_forbidden(event, allowed):
            seen.append((current, event, str(arguments[:1])[:80]))

    sys.addaudithook(hook)
    for number, frames in enumerate(payloads):
        views = [memoryview(frame) for frame in frames]
        current = number
        try:
            serializer.loads(views)
        except Exception:  # noqa: BLE001 - foreign code; damaged input may raise anything
            continue
        finally:
            current = -1
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
