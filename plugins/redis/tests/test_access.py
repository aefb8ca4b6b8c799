"""Accounts: what the engines have to be allowed, and what they say where they are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cachewright.entry import MISSING
from cachewright.errors import EngineError, EngineUnavailableError

Opener = Callable[..., Any]

KEYS = [f"{number:032x}" for number in range(3)]

ALLOWED = {
    "scan": "get mget set unlink scan eval evalsha",
    "generation": "get mget set unlink scan eval evalsha getrange",
}


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Every test of this module is one of both engines."""
    return str(request.param)


@pytest.fixture(scope="module")
def strict(start_shared: Callable[..., Any]) -> Any:
    """A server for the tests of this module alone, on which accounts are made."""
    return start_shared("--unixsocket", "r.sock")


@pytest.fixture
def make_account(strict: Any) -> Iterator[Callable[[str], str]]:
    """Makes an account that may use some commands on our names, and nothing else; returns its url."""
    with strict.client() as client:

        def make(commands: str, keys: str = "cw:*") -> str:
            client.execute_command("ACL", "SETUSER", "bound", "reset", "on", ">a/b@c", f"~{keys}", *(
                f"+{command}" for command in commands.split()
            ))  # fmt: skip
            return f"redis://bound:a%2Fb%40c@127.0.0.1:{strict.port}"

        yield make
        client.flushall()
        client.script_flush()
        client.execute_command("ACL", "DELUSER", "bound")


def do_everything(engine: Any) -> None:
    """Ask an engine for everything that engines can do."""
    engine.clear()
    assert engine.set(KEYS[0], [b"a"], ttl=100) is True
    assert engine.set_many([(key, [b"b"], None, 1) for key in KEYS[1:]]) == 2
    assert engine.get(KEYS[0]) == b"a"
    assert engine.get_many(KEYS) == {KEYS[0]: b"a", KEYS[1]: b"b", KEYS[2]: b"b"}
    assert engine.compare_and_set(KEYS[0], b"a", [b"c"]) is True
    assert engine.compare_and_set_many([(KEYS[1], b"b", MISSING, None, 1)]) == [True]
    assert sorted(engine.keys()) == [KEYS[0], KEYS[2]]
    assert engine.count() == 2
    assert engine.delete(KEYS[0]) is True
    assert engine.delete_many(KEYS) == 1
    engine.clear()


@pytest.mark.parametrize("clear", ["scan", "generation"])
def test_the_commands_of_the_readme_are_enough(make_account: Any, opened: Opener, clear: str) -> None:
    """An account with them, on our names alone, does everything."""
    do_everything(opened(url=make_account(ALLOWED[clear]), options={"clear": clear}))


@pytest.mark.parametrize("clear", ["scan", "generation"])
def test_each_of_the_commands_is_needed(make_account: Any, strict: Any, opened: Opener, clear: str) -> None:
    """Without any one of them something is refused, with a word about what to allow."""
    for command in ALLOWED[clear].split():
        fewer = " ".join(word for word in ALLOWED[clear].split() if word != command)
        with strict.client() as client:
            client.script_flush()
        with pytest.raises(EngineError, match=r"ACL SETUSER"):
            do_everything(opened(url=make_account(fewer), options={"clear": clear}))


def test_names_of_others_are_refused(make_account: Any, opened: Opener) -> None:
    """An account for other names is refused, and a prefix makes names fit an account."""
    url = make_account(ALLOWED["scan"], "mine:*")
    with pytest.raises(EngineError, match="ACL SETUSER") as failed:
        opened(url=url).get(KEYS[0])
    assert not isinstance(failed.value, EngineUnavailableError)
    do_everything(opened(url=url, options={"prefix": "mine:"}))


def test_an_account_on_a_unix_socket(make_account: Any, strict: Any, opened: Opener) -> None:
    """User, password and database of the url count on a Unix socket, too."""
    path = f"{strict.directory}/r.sock"
    make_account(f"{ALLOWED['scan']} select")
    do_everything(opened(url=f"unix://bound:a%2Fb%40c@{path}?db=2"))
    do_everything(opened(url=f"unix://{path}?username=bound&password=a%2Fb%40c"))
    with pytest.raises(EngineUnavailableError, match="user name and password"):
        opened(url=f"unix://bound:wrong@{path}").get(KEYS[0])


def test_rights_that_are_taken_away(make_account: Any, opened: Opener) -> None:
    """A connection that lost its rights refuses, and works again when they are back."""
    engine = opened(url=make_account(ALLOWED["scan"]))
    assert engine.set(KEYS[0], [b"a"]) is True
    make_account("get")
    with pytest.raises(EngineError):
        engine.set(KEYS[0], [b"b"])
    make_account(ALLOWED["scan"])
    assert engine.get(KEYS[0]) == b"a"
    assert engine.set(KEYS[0], [b"b"]) is True
