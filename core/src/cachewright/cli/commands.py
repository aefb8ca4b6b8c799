"""Commands are what a module of the command line adds its own to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Commands(Protocol):
    """What argparse calls the sub-parsers, without a public name for them."""

    def add_parser(self, name: str, *, help: str) -> ArgumentParser:  # noqa: A002 - argparse's name
        """Add a command and return its parser."""
        ...
