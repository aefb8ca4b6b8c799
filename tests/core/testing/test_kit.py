"""Expected failures are declared by name, with a reason, and strictly; the list of tests is pinned."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cachewright.errors import ConfigurationError
from cachewright.testing import (
    AsyncEngineKit,
    CipherKit,
    CodecKit,
    EngineKit,
    KeyMakerKit,
    PluginKit,
    SerializerKit,
)
from cachewright.testing.kit import Kit

KITS: tuple[type[Kit], ...] = (
    EngineKit,
    AsyncEngineKit,
    SerializerKit,
    KeyMakerKit,
    CodecKit,
    CipherKit,
    PluginKit,
)


class Sample(Kit):
    def test_one(self) -> None:
        """A test."""

    def test_other(self) -> None:
        """Another test."""


def test_an_expected_failure_is_a_strict_xfail_with_its_reason() -> None:
    """The mark carries strict=True and the reason, and the other tests stay unmarked."""
    kit = type("Known", (Sample,), {"expected_failures": {"test_one": "the server rounds"}})
    (mark,) = kit.test_one.pytestmark  # type: ignore[attr-defined]
    assert (mark.name, mark.kwargs) == ("xfail", {"strict": True, "reason": "the server rounds"})
    assert not hasattr(Sample.test_one, "pytestmark")
    assert not hasattr(kit.test_other, "pytestmark")  # type: ignore[attr-defined]


def test_expecting_the_failure_of_no_test_is_an_error() -> None:
    """A name that is no test of the kit is refused when the class is defined."""
    with pytest.raises(ConfigurationError, match="test_gone"):
        type("Known", (Sample,), {"expected_failures": {"test_gone": "reason"}})


def test_expecting_a_failure_without_a_reason_is_an_error() -> None:
    """An empty reason is refused when the class is defined."""
    with pytest.raises(ConfigurationError, match="reason"):
        type("Known", (Sample,), {"expected_failures": {"test_one": " "}})


def test_one_case_of_a_test_can_be_expected_to_fail() -> None:
    """Naming a case marks that case alone, and several cases can be named."""

    class Cases(Kit):
        @pytest.mark.parametrize(("old", "new"), [(1, None), ("a", 2.5), (3, 4)])
        def test_pairs(self, old: object, new: object) -> None:
            """A test with cases."""

    declared = {"test_pairs[1-None]": "one", "test_pairs[3-4]": "other"}
    kit = type("Known", (Cases,), {"expected_failures": declared})
    (mark,) = kit.test_pairs.pytestmark  # type: ignore[attr-defined]
    assert [(case.id, len(case.marks)) for case in mark.args[1]] == [("1-None", 1), ("a-2.5", 0), ("3-4", 1)]
    with pytest.raises(ConfigurationError, match="5-6"):
        type("Known", (Cases,), {"expected_failures": {"test_pairs[5-6]": "reason"}})
    with pytest.raises(ConfigurationError, match="a case"):
        type("Known", (Sample,), {"expected_failures": {"test_one[1]": "reason"}})


def test_a_subclass_keeps_what_was_declared() -> None:
    """Subclassing once more neither loses the mark nor adds a second one."""
    known = type("Known", (Sample,), {"expected_failures": {"test_one": "reason"}})
    again = type("Again", (known,), {})
    assert len(again.test_one.pytestmark) == 1  # type: ignore[attr-defined]


def test_no_test_of_a_kit_was_removed() -> None:
    """The names of all tests are those on file; adding, renaming or removing one is done there too."""
    pinned = Path(__file__).with_name("kit_tests.txt").read_text().splitlines()
    assert [f"{kit.__name__}.{name}" for kit in KITS for name in kit.names_of_tests()] == pinned


@pytest.mark.parametrize("kit", KITS)
def test_every_test_of_a_kit_says_what_it_specifies(kit: type[Kit]) -> None:
    """Each test has a docstring, which is what an author reads when it fails."""
    undocumented = [name for name in kit.names_of_tests() if not getattr(kit, name).__doc__]
    assert undocumented == []


@pytest.mark.parametrize("kit", KITS)
def test_every_test_of_a_kit_says_what_is_at_stake(kit: type[Kit]) -> None:
    """Its group says what an application would lose, which is what an author is told when it fails."""
    silent = [name for name in kit.names_of_tests() if kit.stakes_of(name) == Kit.stakes]
    assert silent == []


def test_the_group_that_defines_a_test_says_what_is_at_stake() -> None:
    """Also for a subclass that expects the test to fail, or says something of its own."""
    own = {"expected_failures": {"test_maxsize_is_exact": "why"}, "stakes": "mine"}
    known = type("Known", (EngineKit,), own)
    assert known.stakes_of("test_maxsize_is_exact") == EngineKit.stakes_of("test_maxsize_is_exact")
    assert "bound" in known.stakes_of("test_maxsize_is_exact")
    assert known.stakes_of("test_two_handles_see_each_others_writes").startswith("entries would be lost")


@pytest.mark.parametrize(("kit", "least"), [(EngineKit, 150), (AsyncEngineKit, 150)])
def test_an_engine_is_asked_more_than_a_hundred_and_fifty_questions(kit: type[Kit], least: int) -> None:
    """Cases counted; each mistake that an engine made anywhere is one."""
    assert sum(_cases(getattr(kit, name)) for name in kit.names_of_tests()) >= least


def _cases(test: Any) -> int:
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    return math.prod(len(list(mark.args[1])) for mark in marks)


@pytest.mark.parametrize(("passes", "outcome"), [(False, "1 xfailed"), (True, "1 failed")])
def test_an_expected_failure_that_passes_fails_the_run(tmp_path: Path, *, passes: bool, outcome: str) -> None:
    """A run with a declared failure succeeds while the test fails, and fails once it passes."""
    (tmp_path / "test_case.py").write_text(
        "from cachewright.testing.kit import Kit\n"
        "class Sample(Kit):\n"
        f"    def test_one(self): assert {passes}\n"
        "class TestKnown(Sample):\n"
        "    expected_failures = {'test_one': 'reason'}\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "test_case.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert outcome in done.stdout
    assert done.returncode == int(passes)


def test_importing_cachewright_imports_no_kit() -> None:
    """The kit, pytest and hypothesis are there for authors, and cost an application nothing."""
    script = "import sys, cachewright; print([m for m in sys.modules if 'testing' in m or 'pytest' in m])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
