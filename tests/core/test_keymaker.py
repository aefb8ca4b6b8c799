"""The contract of key makers hands out the built-in one, for others to build on."""

from __future__ import annotations

import subprocess
import sys

from cachewright.builtin.canonical import CanonicalKeyMaker
from cachewright.keymaker import Call, KeyMaker, canonical


class CaseBlind(KeyMaker):
    def __init__(self) -> None:
        self._inner = canonical()

    def call_key(self, call: Call, /) -> str:
        values = tuple(value.lower() if isinstance(value, str) else value for value in call.values)
        return self._inner.call_key(Call(call.function, call.names, values, typed=call.typed))

    def value_key(self, value: object, /) -> str:
        return self._inner.value_key(value.lower() if isinstance(value, str) else value)


def test_canonical_makes_the_keys_of_the_built_in_key_maker() -> None:
    """What canonical() returns makes the very keys that are made where none is asked for."""
    call = Call("m.f", ("a", "b"), (1, [2.5, {"c": None}]))
    assert canonical().call_key(call) == CanonicalKeyMaker().call_key(call)
    assert canonical().value_key(("a", 1)) == CanonicalKeyMaker().value_key(("a", 1))


def test_a_key_maker_can_be_built_on_it() -> None:
    """A key maker that changes arguments first shares keys where it says so, and nowhere else."""
    maker = CaseBlind()
    assert maker.call_key(Call("m.f", ("a",), ("X",))) == maker.call_key(Call("m.f", ("a",), ("x",)))
    assert maker.call_key(Call("m.f", ("a",), ("X",))) != maker.call_key(Call("m.f", ("a",), ("y",)))
    assert maker.value_key("X") == canonical().value_key("x")


def test_the_contract_alone_imports_no_key_maker() -> None:
    """Importing the contract does not import what is built on it."""
    source = "import sys, cachewright.keymaker; print('cachewright.builtin.canonical' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
