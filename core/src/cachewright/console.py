"""A console shows text, tables and progress: by rich on a terminal where that is installed, else plain."""

from __future__ import annotations

import json
import math
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence


class Console(Protocol):
    """Where commands write. Tables and text go to standard output, progress to standard error."""

    def text(self, line: str = "") -> None:
        """Write a line."""
        ...

    def table(self, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table; the last column takes the room that is left."""
        ...

    def progress(self, label: str, total: int) -> Any:
        """Return a context manager that shows a bar and gives a function to advance it by one."""
        ...


def open_console() -> Console:
    """Return a console by rich for a terminal, if rich is installed, else a plain one.

    What goes to a file or a pipe is read by other programs: it has no frames and no broken lines.
    """
    if not sys.stdout.isatty():
        return PlainConsole()
    try:
        return _RichConsole()
    except ImportError:
        return PlainConsole()


def write_json(document: object) -> None:
    """Write a document for programs; figures that are not finite become null."""
    sys.stdout.write(json.dumps(_finite(document), indent=2, default=str, allow_nan=False) + "\n")


class PlainConsole:
    """Aligned columns and no colour."""

    def text(self, line: str = "") -> None:
        """Write a line."""
        sys.stdout.write(_printable(line) + "\n")

    def table(self, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table with aligned columns."""
        rows = [[" ".join(cell.split()) for cell in row] for row in rows]
        self.text(title)
        widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
        for row in (headers, ["-" * width for width in widths], *rows):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.text(f"  {line}".rstrip())
        self.text()

    @contextmanager
    def progress(self, label: str, total: int) -> Generator[Callable[[], None], None, None]:
        """Show a bar that is redrawn in place, on a terminal only."""
        done = 0
        shown = sys.stderr.isatty()

        def draw() -> None:
            filled = 30 * done // total if total else 30
            sys.stderr.write(f"\r{label} [{'#' * filled}{'.' * (30 - filled)}] {done}/{total}")
            sys.stderr.flush()

        def advance() -> None:
            nonlocal done
            done += 1
            if shown:
                draw()

        try:
            yield advance
        finally:
            if shown:
                draw()
                sys.stderr.write("\n")


_NARROW = 16
"""Characters up to which the cells of a column are not broken."""


class _RichConsole:
    def __init__(self) -> None:
        from rich.console import Console as Rich  # noqa: PLC0415 - an optional dependency

        self._out = Rich(highlight=False, emoji=False, soft_wrap=True)
        self._err = Rich(stderr=True)

    def text(self, line: str = "") -> None:
        self._out.print(_printable(line), markup=False)

    def table(self, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich.table import Table  # noqa: PLC0415 - as above
        from rich.text import Text  # noqa: PLC0415 - as above

        table = Table(title=title, title_justify="left", title_style="bold", expand=False)
        columns = zip(*rows, strict=True) if rows else [()] * len(headers)
        widths = [
            max(map(len, (*header.split(), *column)), default=0)
            for header, column in zip(headers, columns, strict=True)
        ]
        # Names and figures stay whole, unless the terminal is too narrow even for them.
        fits = sum(min(width, _NARROW) + 3 for width in widths) < self._out.width
        for header, width in zip(headers, widths, strict=True):
            whole = fits and width <= _NARROW
            table.add_column(header.replace(" ", "\n") if whole else header, overflow="fold", no_wrap=whole)
        for row in rows:
            table.add_row(*(Text(_printable(cell)) for cell in row))
        self._out.print(table, soft_wrap=False)

    @contextmanager
    def progress(self, label: str, total: int) -> Generator[Callable[[], None], None, None]:
        from rich.progress import Progress  # noqa: PLC0415 - as above

        with Progress(console=self._err, transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda: bar.advance(task)


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in cast("dict[object, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in cast("list[object]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _printable(text: str) -> str:
    """Return text without what the terminal's encoding, or any, cannot say: paths may hold anything."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
