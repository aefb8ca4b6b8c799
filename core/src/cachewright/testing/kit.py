"""A kit is a class of tests that an author subclasses; failures that are known are declared in it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

import pytest

from cachewright.errors import ConfigurationError


class Kit:
    """What all kits share: failures that the author expects, each with its reason.

    Attributes:
        expected_failures: name of a test, ``"test_a"`` or ``"test_a[case]"`` -> why this plugin fails
            it. Strict: the run fails as soon as such a test passes, so the declaration cannot outlive
            its reason.
        stakes: what an application would lose by a failure of this group of tests, as half a sentence.

    Raises:
        ConfigurationError: on subclassing, if ``expected_failures`` names no test or no reason.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {}
    stakes: ClassVar[str] = "the plugin would not do what cachewright relies on"

    def __init_subclass__(cls, **arguments: object) -> None:
        super().__init_subclass__(**arguments)
        declared: Mapping[str, str] = vars(cls).get("expected_failures", {})
        for name, reason in declared.items():
            _expect_failure(cls, name, reason)

    @classmethod
    def stakes_of(cls, test: str) -> str:
        """Return what is at stake in a test, by its name, as the group that defines it says."""
        groups = (base for base in reversed(cls.__mro__) if issubclass(base, Kit))
        return next(group.stakes for group in groups if test in vars(group))

    @classmethod
    def names_of_tests(cls) -> tuple[str, ...]:
        """Return the names of the tests of this kit, sorted."""
        return tuple(sorted(name for name in dir(cls) if name.startswith("test_")))


def _expect_failure(kit: type[Kit], name: str, reason: str) -> None:
    test_name, bracket, case = name.partition("[")
    if test_name not in kit.names_of_tests():
        raise ConfigurationError(f"{kit.__name__}.expected_failures", name, "the name of a test of the kit")
    if not reason.strip():
        raise ConfigurationError(f"{kit.__name__}.expected_failures[{name!r}]", reason, "the reason")
    test: Callable[..., None] = getattr(kit, test_name)

    # a copy, because a mark on the inherited function would be seen by every other subclass
    @functools.wraps(test)
    def expected_to_fail(*arguments: object, **named: object) -> None:
        test(*arguments, **named)

    mark = pytest.mark.xfail(strict=True, reason=reason)
    if bracket:
        _mark_case(kit, expected_to_fail, case.removesuffix("]"), mark)
    else:
        mark(expected_to_fail)
    setattr(kit, test_name, expected_to_fail)


def _mark_case(kit: type[Kit], test: Any, case: str, mark: pytest.MarkDecorator) -> None:
    """Put ``mark`` on one case of a parametrized test, by its name."""
    marks: list[pytest.Mark] = list(getattr(test, "pytestmark", []))
    for position, old in enumerate(marks):
        if old.name != "parametrize":
            continue
        names: object = old.args[0]
        cases = [_as_case(value, single=isinstance(names, str)) for value in old.args[1]]
        known = [known_case.id for known_case in cases]
        if case in known:
            found = known.index(case)
            cases[found] = pytest.param(*cases[found].values, id=case, marks=[*cases[found].marks, mark])
            marks[position] = pytest.mark.parametrize(cast("str", names), cases).mark
            test.pytestmark = marks
            return
    name = f"{test.__name__}[{case}]"
    raise ConfigurationError(f"{kit.__name__}.expected_failures", name, "the name of a case of that test")


def _as_case(value: Any, *, single: bool) -> Any:
    """Return one case of a parametrized test under the name that pytest would give it."""
    if hasattr(value, "marks") and hasattr(value, "id"):
        return value
    values: Sequence[object] = (value,) if single else value
    return pytest.param(*values, id="-".join(map(str, values)))
