"""The kit for authors of key makers: equal arguments share a key, all others have their own."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cachewright.errors import UnkeyableArgumentError
from cachewright.keymaker import Call, KeyMaker, KeyMakerInfo
from cachewright.testing.arguments import TYPED_PAIRS, UNKEYABLE, different, equal_groups
from cachewright.testing.kit import Kit

CHILD = Path(__file__).with_name("keying_child.py")
KEY = re.compile(r"[0-9a-f]{32,}")


class KeyMakerKit(Kit):
    """Every promise of :class:`~cachewright.keymaker.KeyMaker` as a test.

    Example, a whole test file::

        from cachewright.testing import KeyMakerKit
        from cachewright_rounded.plugin import ROUNDED

        class TestRounded(KeyMakerKit):
            info = ROUNDED

    Attributes:
        info: the record of the key maker under test.
        unkeyable: makes arguments that it has to refuse; override it where it keys more.
    """

    stakes: ClassVar[str] = "one call would be given the result of another, or never find its own"

    info: ClassVar[KeyMakerInfo]
    unkeyable: ClassVar[Mapping[str, Callable[[], Any]]] = UNKEYABLE

    def equal_groups(self) -> Sequence[Sequence[Any]]:
        """Return groups of arguments, each of which shares one key; override it to add or to take."""
        return equal_groups()

    def different(self) -> Sequence[Any]:
        """Return arguments that all have different keys; override it to add or to take."""
        return different()

    @pytest.fixture
    def maker(self) -> KeyMaker:
        """A new instance of the key maker under test."""
        return self.info.load()()

    def test_keys_are_long_hexadecimal(self, maker: KeyMaker) -> None:
        """Every key is lower-case hexadecimal of at least 128 bits, and all are equally long."""
        keys = [maker.value_key(value) for value in self.different()]
        keys += [maker.call_key(_call(value)) for value in self.different()]
        keys.append(maker.call_key(Call("m.f", (), ())))
        assert [key for key in keys if not KEY.fullmatch(key)] == []

    def test_equal_arguments_share_a_key(self, maker: KeyMaker) -> None:
        """Arguments that compare equal have one key, alone, in a call and inside containers."""
        for group in self.equal_groups():
            for make in _ways(maker):
                keys = {make(value) for value in group}
                assert len(keys) == 1, f"{group!r:.200} have {len(keys)} keys"

    def test_different_arguments_have_different_keys(self, maker: KeyMaker) -> None:
        """Arguments that differ, however little, have keys of their own, as values and in calls."""
        for make in _ways(maker):
            owners: dict[str, object] = {}
            for value in self.different():
                key = make(value)
                assert key not in owners, f"{owners[key]!r:.100} and {value!r:.100} share a key"
                owners[key] = value

    def test_typed_keeps_types_apart(self, maker: KeyMaker) -> None:
        """With typed=True equal arguments of different types have different keys."""
        for one, other in TYPED_PAIRS:
            keys = [maker.call_key(_call(value, typed=True)) for value in (one, other)]
            assert keys[0] != keys[1], f"{one!r} and {other!r}"
            again = maker.call_key(_call(one, typed=True))
            assert again == keys[0]

    def test_parameters_do_not_run_together(self, maker: KeyMaker) -> None:
        """Values move between parameters, and into *args or **kwargs, only with a new key."""
        calls = [
            Call("m.f", ("a", "b"), ("x", "y")),
            Call("m.f", ("a", "b"), ("y", "x")),
            Call("m.f", ("a", "b"), ("xy", "")),
            Call("m.f", ("a", "b"), ("", "xy")),
            Call("m.f", ("a",), ("x",)),
            Call("m.f", ("a",), (("x", "y"),)),
            Call("m.f", ("a",), ("x,y",)),
            Call("m.f", ("a",), ("x\0y",)),
            Call("m.f", ("a", "args"), ("x", ("y",))),
            Call("m.f", ("a", "args"), ("x", ())),
            Call("m.f", ("args", "b"), (("x",), "y")),
            Call("m.f", ("a", "kwargs"), ("x", (("b", "y"),))),
            Call("m.f", ("a", "kwargs"), ("x", (("y", "b"),))),
            Call("m.f", ("a", "kwargs"), ("x", (("b", "y"), ("c", "y")))),
            Call("m.f", (), ()),
        ]
        assert len({maker.call_key(call) for call in calls}) == len(calls)

    def test_keys_are_the_same_in_every_process(self, maker: KeyMaker) -> None:
        """Processes with other hash seeds make the same keys from the same arguments."""
        values = [*self.different(), *(value for group in self.equal_groups() for value in group)]
        expected = [maker.value_key(value) for value in values]
        job = pickle.dumps((sys.path, pickle.dumps((self.info, values))))
        for seed in ("0", "1", "4242"):
            done = subprocess.run(
                [sys.executable, "-P", str(CHILD)],
                input=job,
                capture_output=True,
                timeout=300,
                check=False,
                env={**os.environ, "PYTHONHASHSEED": seed},
            )
            assert done.returncode == 0, done.stderr.decode()[-2000:]
            assert json.loads(done.stdout) == expected

    def test_another_instance_makes_the_same_keys(self, maker: KeyMaker) -> None:
        """Two instances agree, and one instance agrees with itself later, for neither keeps state."""
        other = self.info.load()()
        for value in self.different():
            first = maker.value_key(value)
            assert other.value_key(value) == first
            assert maker.value_key(value) == first

    def test_an_unkeyable_argument_is_refused_by_name(self, maker: KeyMaker) -> None:
        """An argument without a canonical encoding raises UnkeyableArgumentError with its parameter."""
        for name, make in self.unkeyable.items():
            with pytest.raises(UnkeyableArgumentError) as refused:
                maker.call_key(Call("m.f", ("fine", "culprit"), (1, make())))
            assert refused.value.parameter == "culprit", name
            assert refused.value.function == "m.f", name
            with pytest.raises(UnkeyableArgumentError):
                maker.value_key(make())

    def test_making_a_key_consumes_nothing(self, maker: KeyMaker) -> None:
        """Iterators are refused before they are read, and mutable arguments stay as they are."""
        iterator, listed = iter([1, 2]), [3, {"a": {1, 2}}]
        with pytest.raises(UnkeyableArgumentError):
            maker.value_key(iterator)
        assert next(iterator) == 1
        before = maker.value_key(listed)
        assert listed == [3, {"a": {1, 2}}]
        listed.append(4)
        assert maker.value_key(listed) != before

    def test_threads_make_the_same_keys(self, maker: KeyMaker) -> None:
        """Eight threads that use one instance at once make the keys that one thread makes."""
        values = list(self.different())
        expected = [maker.value_key(value) for value in values]

        def work(_: int) -> list[str]:
            return [maker.value_key(value) for value in values]

        with ThreadPoolExecutor(8) as pool:
            assert all(keys == expected for keys in pool.map(work, range(8)))


def _call(value: object, *, typed: bool = False) -> Call:
    return Call("m.f", ("argument",), (value,), typed=typed)


def _ways(maker: KeyMaker) -> tuple[Callable[[object], str], ...]:
    def called(value: object) -> str:
        return maker.call_key(_call(value))

    def boxed(value: object) -> str:
        return maker.value_key([("box", value), {"box": value}])

    return maker.value_key, called, boxed
