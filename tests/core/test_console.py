"""Text, tables and progress, with rich and without."""

from __future__ import annotations

import io
import json
import math
import sys

import pytest

from cachewright.console import PlainConsole, _RichConsole, open_console, write_json

ROWS = [("memory", "80 ns"), ("sqlite", "a long reason\nover two lines")]


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def sit_down(monkeypatch):
    """Return a function that puts a terminal in place and returns what is shown and what is complained."""

    def sit_down(columns=80):
        out, err = Terminal(), Terminal()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.delenv("NO_COLOR", raising=False)
        return out, err

    return sit_down


class TestChoice:
    """Which console is opened."""

    def test_a_sit_down_gets_rich_where_it_is_installed(self, sit_down):
        """The tables have frames there."""
        terminal = sit_down()
        console = open_console()
        console.table("engines", ("engine", "get"), ROWS)
        assert isinstance(console, _RichConsole)
        assert "┏" in terminal[0].getvalue()

    def test_without_rich_the_content_is_the_same_in_plain_text(self, sit_down, monkeypatch):
        """No frame is drawn, no word is lost."""
        terminal = sit_down()
        monkeypatch.setitem(sys.modules, "rich", None)
        monkeypatch.setitem(sys.modules, "rich.console", None)
        console = open_console()
        console.table("engines", ("engine", "get"), ROWS)
        assert isinstance(console, PlainConsole)
        assert terminal[0].getvalue() == (
            "engines\n  engine  get\n  ------  ----------------------------\n  memory  80 ns\n"
            "  sqlite  a long reason over two lines\n\n"
        )

    def test_a_file_or_pipe_gets_plain_text(self, monkeypatch):
        """Other programs read it line by line."""
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        assert isinstance(open_console(), PlainConsole)


class TestRich:
    """On a terminal."""

    def test_no_colour_means_no_colour(self, sit_down, monkeypatch):
        """NO_COLOR is respected (no-color.org)."""
        terminal = sit_down()
        _RichConsole().table("engines", ("engine", "get"), ROWS)
        assert "\x1b[" in terminal[0].getvalue()
        terminal[0].truncate(0)
        monkeypatch.setenv("NO_COLOR", "1")
        _RichConsole().table("engines", ("engine", "get"), ROWS)
        assert "\x1b[3" not in terminal[0].getvalue()

    def test_text_is_not_taken_for_markup(self, sit_down, monkeypatch):
        """Brackets are shown as they are."""
        terminal = sit_down()
        monkeypatch.setenv("NO_COLOR", "1")
        console = _RichConsole()
        console.text("path [bold]x[/bold] :smile:")
        console.table("t", ("a",), [("[red]y[/red]",)])
        assert "path [bold]x[/bold] :smile:" in terminal[0].getvalue()
        assert "[red]y[/red]" in terminal[0].getvalue()

    def test_narrow_columns_are_never_cut(self, sit_down):
        """Names and figures stay whole on 80 columns; the long ones take more lines."""
        terminal = sit_down()
        headers = ("result", "engine", "first pass", "found stored", "second pass", "hit", "saved")
        row = ("token table", "cachetools", "286 ms", "0 of 3", "12.8 us", "1.19 us", "22,409x")
        _RichConsole().table("time", headers, [row])
        _RichConsole().table("rank", ("", "engine", "why"), [("1", "cachetools", "w" * 200)])
        shown = terminal[0].getvalue()
        assert [cell for cell in row if cell not in shown] == []
        assert shown.count("w") == 201
        assert "│ cachetools │" in shown

    def test_a_terminal_too_narrow_for_them_breaks_them(self, sit_down):
        """Nothing is lost."""
        out, _ = sit_down(columns=40)
        _RichConsole().table(
            "time", ("a", "b", "c"), [("abcdefghijklmno", "pqrstuvwxyzABCD", "EFGHIJKLMNOPQRS")]
        )
        letters = {letter for letter in out.getvalue() if letter.isalpha()}
        assert letters >= {*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRS"}


class TestPlain:
    """Anywhere else."""

    def test_a_table_without_rows_has_its_headers(self, capsys):
        """Nothing to align."""
        PlainConsole().table("none", ("a", "bb"), [])
        assert capsys.readouterr().out == "none\n  a  bb\n  -  --\n\n"

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
    def test_what_the_encoding_cannot_say_is_escaped(self, monkeypatch, encoding):
        """Paths may hold anything, also what is no text at all."""
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors="strict"))
        console = PlainConsole()
        console.text("/home/\udcff/日本")
        console.table("t", ("path",), [("/home/\udcff",)])
        sys.stdout.flush()
        assert rb"\udcff" in raw.getvalue()

    def test_progress_is_drawn_on_a_sit_down_only(self, monkeypatch, sit_down):
        """To standard error, so that output can be piped."""
        terminal = sit_down()
        with PlainConsole().progress("working", 2) as advance:
            advance()
            advance()
        assert terminal[1].getvalue().endswith("working [##############################] 2/2\n")
        assert terminal[0].getvalue() == ""
        silent = io.StringIO()
        monkeypatch.setattr(sys, "stderr", silent)
        for total in (0, 1):
            with PlainConsole().progress("working", total) as advance:
                advance()
        assert silent.getvalue() == ""

    def test_the_bar_ends_its_line_when_the_work_fails(self, sit_down):
        """An error message starts on a line of its own."""
        terminal = sit_down()
        with pytest.raises(LookupError), PlainConsole().progress("working", 2) as advance:
            advance()
            raise LookupError
        assert terminal[1].getvalue().endswith("1/2\n")

    def test_rich_shows_no_progress_in_a_pipe(self, monkeypatch):
        """Not even control characters."""
        silent = io.StringIO()
        monkeypatch.setattr(sys, "stderr", silent)
        with _RichConsole().progress("working", 1) as advance:
            advance()
        assert silent.getvalue().strip() == ""


class TestJson:
    """Documents for programs."""

    def test_figures_that_are_not_finite_are_null(self, capsys):
        """At any depth: JSON has no infinity."""
        write_json({"a": math.inf, "b": [-math.inf, (math.nan, 1.5)], 3: None, "d": {"e": math.inf}})
        document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        assert document == {"a": None, "b": [None, [None, 1.5]], "3": None, "d": {"e": None}}

    def test_other_objects_are_written_as_text(self, capsys):
        """Paths and the like; what is no text is escaped."""
        write_json({"path": sys, "odd": "\udcff"})
        assert json.loads(capsys.readouterr().out)["odd"] == "\udcff"
