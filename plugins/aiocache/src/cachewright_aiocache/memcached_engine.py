"""The aiocache-memcached engine keeps bytes on a memcached server, through aiocache, for one event loop."""

from __future__ import annotations

from os import urandom
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from cachewright.entry import MISSING, MissingType
from cachewright_aiocache import memcached_commands as commands
from cachewright_aiocache.address import Address
from cachewright_aiocache.failure import engine_error
from cachewright_aiocache.memcached_client import made
from cachewright_aiocache.memcached_commands import UnexpectedReplyError
from cachewright_aiocache.names import PREFIX, short, stem
from cachewright_aiocache.server import ServerEngine, check_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from cachewright.engine import Blob, Chunks, EngineConfig, Swap
    from cachewright.errors import EngineError
    from cachewright_aiocache.memcached_client import Found

GENERATION: Final = 16
"""Bytes that stand before each value, and say to which generation of the namespace it belongs."""


class _Write(NamedTuple):
    """What is to be stored.

    Attributes:
        whole: the value; ``None`` to remove what there is.
        exptime: when it ends, as the server wants it.
        expected: what must be stored for that, ``MISSING`` for nothing; of no account for ``set``.
        fits: whether it is a value that a server takes.
    """

    whole: bytes | None
    exptime: int = 0
    expected: bytes | MissingType = MISSING
    fits: bool = True

    @property
    def size(self) -> int:
        return len(self.whole or b"")


class AiocacheMemcachedEngine(ServerEngine):
    """Bytes on a memcached server, by the client of a :class:`aiocache.MemcachedCache`.

    A memcached server cannot list its keys. Every namespace has a *generation* there, a random token
    that also stands before each of its values: what belongs to another generation is not there. Clearing
    a namespace gives it a new one, and touches nobody else's entries. A look-up fetches both at once. If
    the server drops the token, the entries of the namespace are gone, too.

    Options: ``prefix``, what the names of all entries begin with.
    """

    name: ClassVar[str] = "aiocache-memcached"

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        check_options(config, "prefix")
        self._stem = stem(config.options.get("prefix", PREFIX), config.namespace).encode()
        self._current = self._stem + b"generation"
        self._address = Address.of(config.url, "memcached")
        self._wall = config.clock.wall
        self._cache, self._client = made(self._address, config.timeout)

    async def get(self, key: str, /) -> bytes | MissingType:
        """Return the stored bytes, or ``MISSING``."""
        return await self._ask("get", self._get, self._name(key))

    async def set(self, key: str, value: Chunks, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the concatenation of ``value``; False, and the older entry gone, above 1 MB."""
        return await self._ask("set", self._store_all, {self._name(key): self._write(value, ttl)}) > 0

    async def delete(self, key: str, /) -> bool:
        """Remove the entry; return whether there was one."""
        return await self._ask("delete", self._remove_all, [self._name(key)]) > 0

    async def clear(self) -> None:
        """Remove every entry of this namespace, in one step, and nothing else from the server."""
        await self._ask("clear", self._begin_generation)

    def keys(self) -> AsyncIterator[str]:
        """Refuse: a memcached server cannot list its keys.

        Raises:
            UnsupportedByEngineError: always.
        """
        raise self._unsupported("listing keys")

    async def count(self) -> int:
        """Refuse, as :meth:`keys` does."""
        raise self._unsupported("counting entries")

    async def compare_and_set(
        self,
        key: str,
        expected: Blob | MissingType,
        value: Chunks | MissingType,
        /,
        *,
        ttl: float | None = None,
        size: int = 1,
    ) -> bool:
        """Store ``value`` only if the very bytes ``expected`` are stored now; atomic on the server."""
        write = self._swap(expected, value, ttl)
        return await self._ask("compare and set", self._swap_one, self._name(key), write)

    async def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        """Swap each by itself, in order, a batch in two round trips.

        Raises:
            EngineError: one swap failed; others may have taken place.
        """
        done: list[bool] = []
        todo = ((self._name(key), self._swap(old, new, ttl)) for key, old, new, ttl, _ in swaps)
        for batch in commands.batches(todo, lambda write: write.size):
            done += await self._ask("compare and set", self._swap_all, batch)
        return done

    async def get_many(self, keys: Iterable[str], /) -> dict[str, bytes]:
        """Return the entries found, a batch per round trip."""
        found: dict[str, bytes] = {}
        for batch in commands.batches(((self._name(key), key) for key in dict.fromkeys(keys)), _nothing):
            values = await self._ask("get", self._get_all, list(batch))
            found |= {batch[name]: value for name, value in values.items()}
        return found

    async def set_many(self, entries: Iterable[tuple[str, Chunks, float | None, int]], /) -> int:
        """Store the entries, a batch in two round trips; return how many were stored."""
        stored = 0
        todo = ((self._name(key), self._write(value, ttl)) for key, value, ttl, _ in entries)
        for batch in commands.batches(todo, lambda write: write.size):
            stored += await self._ask("set", self._store_all, batch)
        return stored

    async def delete_many(self, keys: Iterable[str], /) -> int:
        """Remove the entries, a batch in two round trips; return how many there were."""
        removed = 0
        for batch in commands.batches(((self._name(key), key) for key in dict.fromkeys(keys)), _nothing):
            removed += await self._ask("delete", self._remove_all, list(batch))
        return removed

    async def _disconnect(self) -> None:
        await self._client.close()

    def _failed(self, operation: str, error: Exception) -> EngineError:
        memory = isinstance(error, UnexpectedReplyError) and "out of memory" in str(error)
        return engine_error(
            self.name,
            operation,
            error,
            self._address,
            unreachable=isinstance(error, (OSError, EOFError)),
            silence=self._timeout if isinstance(error, TimeoutError) else None,
            hint="give the server more memory (-m), or let it evict (without -M)" if memory else "",
        )

    def _name(self, key: str) -> bytes:
        return self._stem + short(key).encode()

    def _write(self, value: Chunks, ttl: float | None) -> _Write:
        return _Write(commands.joined(value), commands.exptime(ttl, self._wall))

    def _swap(self, expected: Blob | MissingType, value: Chunks | MissingType, ttl: float | None) -> _Write:
        seen = MISSING if expected is MISSING else bytes(expected)
        if value is MISSING:
            return _Write(None, expected=seen)
        whole, exptime = self._write(value, ttl)[:2]
        return _Write(whole, exptime, seen, fits=whole is not None)

    # What is said to the server ------------------------------------------------------------------------

    async def _get(self, name: bytes) -> bytes | MissingType:
        return self._value(await self._client.look(self._current, name), name)

    async def _get_all(self, names: list[bytes]) -> dict[bytes, bytes]:
        found = await self._client.look(self._current, *names)
        values = {name: self._value(found, name) for name in names}
        return {name: value for name, value in values.items() if value is not MISSING}

    def _value(self, found: Found, name: bytes) -> bytes | MissingType:
        """Return what is stored under a name in the generation that is current."""
        generation, (stored, _) = found.get(self._current), found.get(name, (b"", 0))
        if generation is None or len(generation[0]) != GENERATION or stored[:GENERATION] != generation[0]:
            return MISSING
        return stored[GENERATION:]

    async def _generation(self, found: Found) -> bytes:
        """Return the generation that is current, a new one where there is none.

        What is stored under a generation that ended meanwhile was stored before that was cleared.
        """
        while True:
            token, _ = found.get(self._current, (b"", 0))
            if len(token) == GENERATION:
                return token
            token = urandom(GENERATION)
            verb = b"set" if self._current in found else b"add"
            if await self._client.tell([commands.store(verb, self._current, token, 0)]) == ["done"]:
                return token
            found = await self._client.look(self._current)

    async def _begin_generation(self) -> None:
        token = urandom(GENERATION)
        if await self._client.tell([commands.store(b"set", self._current, token, 0)]) != ["done"]:
            raise UnexpectedReplyError(b"the generation was not stored")

    async def _store_all(self, writes: dict[bytes, _Write]) -> int:
        generation = await self._generation(await self._client.look(self._current))
        outcomes = await self._client.tell([
            commands.delete(name)
            if write.whole is None
            else commands.store(b"set", name, generation + write.whole, write.exptime)
            for name, write in writes.items()
        ])  # fmt: skip
        told = dict(zip(writes, outcomes, strict=True))
        # a server that was told to take less has dropped the older value, but does not promise that
        await self._client.tell([commands.delete(name) for name in told if told[name] == "too large"])
        return sum(told[name] == "done" for name, write in writes.items() if write.whole is not None)

    async def _remove_all(self, names: list[bytes]) -> int:
        there = await self._get_all(names)
        return (await self._client.tell([commands.delete(name) for name in there])).count("done")

    async def _swap_all(self, writes: dict[bytes, _Write]) -> list[bool]:
        found = await self._client.look(self._current, *writes)
        fit = {name: write for name, write in writes.items() if self._value(found, name) == write.expected}
        generation = await self._generation(found) if fit else b""
        said = {name: _said(name, write, found, generation) for name, write in fit.items()}
        outcomes = await self._client.tell([command for command in said.values() if command])
        told = dict(zip([name for name, command in said.items() if command], outcomes, strict=True))
        done: list[bool] = []
        for name, write in writes.items():
            took_place = name in fit and told.get(name, "done") == "done"
            if told.get(name) == "not done":  # somebody was faster, perhaps with the same bytes: look again
                took_place = await self._swap_one(name, write)
            elif told.get(name) == "too large":
                await self._swap_one(name, write._replace(whole=None))
            done.append(took_place and write.fits)
        return done

    async def _swap_one(self, name: bytes, write: _Write) -> bool:
        (done,) = await self._swap_all({name: write})
        return done


def _said(name: bytes, write: _Write, found: Found, generation: bytes) -> bytes:
    """Return the command for a swap whose expectation was met; nothing if there is nothing to do."""
    token = found[name][1] if name in found else 0
    if write.whole is None:
        return b"" if write.expected is MISSING else commands.forget(name, token)
    value = generation + write.whole
    if token:
        return commands.replace(name, value, write.exptime, token)
    return commands.store(b"add", name, value, write.exptime)


def _nothing(_: str) -> int:
    return 0
