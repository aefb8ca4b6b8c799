"""The command line: one program with a command for everything that needs no code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cachewright import __version__
from cachewright.cli import author, engines, report
from cachewright.cli.exit_code import FINDING, INTERRUPTED, OK, USAGE
from cachewright.console import open_console
from cachewright.errors import (
    CachewrightError,
    CachewrightWarning,
    ConfigurationError,
    UnknownPluginError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

REPORTING = frozenset({"plugins", "doctor"})
"""Commands that report broken plugins themselves."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; failures are one line on standard error."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed by who started us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the end
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", CachewrightWarning)
        code = _run(options)
    if options.command not in REPORTING:
        for message in dict.fromkeys(str(warning.message) for warning in caught):
            _complain(f"warning: {message}")
    return code


def _run(options: argparse.Namespace) -> int:
    try:
        code: int = options.run(options, open_console())
        sys.stdout.flush()
    except (ConfigurationError, UnknownPluginError) as error:
        return _complain(error, USAGE)
    except CachewrightError as error:
        return _complain(error, FINDING)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except OSError as error:
        _discard_output()
        # The reader of a pipe may have seen enough; any other failure to write is one.
        return OK if isinstance(error, BrokenPipeError) else _complain(error, FINDING)
    return code


def _complain(what: object, code: int = OK) -> int:
    sys.stderr.write(f"cachewright: {' '.join(str(what).split())}\n")
    return code


def _discard_output() -> None:
    """Let the interpreter flush at its end, without failing again, what could not be written."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cachewright",
        description="A cache-engine framework: one decorator, the best engine for the data.",
    )
    parser.add_argument("--version", action="version", version=f"cachewright {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for group in (engines, report, author):
        group.add(commands)
    return parser
