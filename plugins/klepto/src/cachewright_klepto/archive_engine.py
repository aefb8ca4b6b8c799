"""What the engines over klepto's stored archives share: checks, locks, and how failures are told."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, TypeVar

from cachewright.directory import disk_failure
from cachewright.engine import Engine, MappedBlob
from cachewright.entry import MISSING, MissingType
from cachewright.errors import CachewrightError, ClosedError, ConfigurationError, EngineError
from cachewright_klepto.space import STAGE, Space
from cachewright_klepto.text import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from cachewright.engine import Blob, Chunks, EngineConfig, Swap

T = TypeVar("T")

Changes: TypeAlias = "dict[str, bytes | MissingType]"
"""Keys with what is to be stored under them; ``MISSING`` to remove the entry."""

_HINT_FULL: Final = "free some space on that disk, or give path= on another one"


class ArchiveEngine(Engine):
    """Bytes as text in an archive that klepto writes, shared by the processes of a host.

    Writes take turns, host-wide; each is there as a whole or not at all, whenever its process is killed.
    What is read is data, whoever has written it: JSON, text columns or arrays of bytes, and never a
    pickle or a module.

    Option: ``trust_directory`` accepts a directory that belongs to other users.
    """

    kind: ClassVar[str]
    """Name of the folder in the store, with the version of its format."""

    folders: ClassVar[tuple[str, ...]] = (STAGE,)
    """Names of the folders in that of a namespace."""

    reads_alone: ClassVar[bool] = False
    """Whether reading needs the threads of this process to take turns."""

    def __init__(self, config: EngineConfig) -> None:
        if config.path is None:
            raise ConfigurationError("path", None, f"the directory in which engine {self.name!r} keeps files")
        trusted = _checked_options(self.name, config)
        self._namespace = config.namespace
        self._closed = False
        self._space = Space(config.path, config, self.kind, self, trusted=trusted)

    @property
    def private(self) -> bool:
        """Whether only the current user can have written what is stored."""
        return self._opened().directory.private

    def get(self, key: str, /) -> Any:
        """Return the stored bytes, or ``MISSING``; damaged ones are missing."""
        checked(key)
        return self._read("get", lambda space: self.fetch(space, key))

    def get_many(self, keys: Iterable[str], /) -> dict[str, Any]:
        """Return the entries found; absent and damaged ones are left out."""
        wanted = [checked(key) for key in keys]
        return self._read("get_many", lambda space: self.fetch_many(space, wanted))

    def set(self, key: str, value: Chunks, /, *, ttl: float | None = None, size: int = 1) -> bool:
        """Store the concatenation of ``value``; the caller keeps to ``ttl``, see :meth:`Engine.set`."""
        changes: Changes = {checked(key): b"".join(value)}
        self._write("set", lambda space: self.apply(space, changes))
        return True

    def set_many(self, entries: Iterable[tuple[str, Chunks, float | None, int]], /) -> int:
        """Store the entries, all in one turn; return how many there were."""
        given = [(checked(key), b"".join(value)) for key, value, _, _ in entries]
        changes: Changes = dict(given)
        self._write("set_many", lambda space: self.apply(space, changes))
        return len(given)

    def delete(self, key: str, /) -> bool:
        """Remove the entry; return whether there was one."""
        return self.delete_many((key,)) == 1

    def delete_many(self, keys: Iterable[str], /) -> int:
        """Remove the entries, all in one turn; return how many there were."""
        changes: Changes = {checked(key): MISSING for key in keys}

        def work(space: Space) -> int:
            found = len(self.stored(space, list(changes)))
            self.apply(space, changes)
            return found

        return self._write("delete", work)

    def clear(self) -> None:
        """Remove every entry of this namespace, and nothing else."""
        self._write("clear", self.wipe)

    def keys(self) -> Iterator[str]:
        """Iterate over a snapshot of the stored keys."""
        return iter(self._read("list keys", self.listed))

    def compare_and_set(
        self,
        key: str,
        expected: Blob | MappedBlob | MissingType,
        value: Chunks | MissingType,
        /,
        *,
        ttl: float | None = None,
        size: int = 1,
    ) -> bool:
        """Store ``value`` only if ``expected`` is stored now; atomic for all processes of the host."""
        return self.compare_and_set_many(((key, expected, value, ttl, size),))[0]

    def compare_and_set_many(self, swaps: Iterable[Swap], /) -> list[bool]:
        """Do :meth:`compare_and_set` for each swap, all in one turn; return which took place."""
        given = [
            (checked(key), _content(expected), value if value is MISSING else b"".join(value))
            for key, expected, value, _, _ in swaps
        ]

        def work(space: Space) -> list[bool]:
            changes: Changes = {}
            done: list[bool] = []
            for key, expected, value in given:
                current = changes[key] if key in changes else self.fetch(space, key)
                done.append((current is MISSING) is (expected is MISSING) and current == expected)
                if done[-1]:
                    changes[key] = value
            self.apply(space, changes)
            return done

        return self._write("compare_and_set", work)

    def close(self) -> None:
        """Let go of the store; entries stay. Operations under way in other threads end first."""
        if not self._closed:
            self._closed = True
            with self._space.inside("close"):
                self.let_go()

    def let_go(self) -> None:
        """Close what is open; it opens again by itself."""

    def abandon(self) -> None:
        """Drop what is open without touching it: a thread of the parent was using it while we forked."""

    @abstractmethod
    def fetch(self, space: Space, key: str) -> bytes | MissingType:
        """Return what is stored. Called with the lock, and without, or inside if ``reads_alone``."""

    def fetch_many(self, space: Space, keys: list[str]) -> dict[str, Any]:
        """Return what is stored under the keys; called as :meth:`fetch` is."""
        found = [(key, self.fetch(space, key)) for key in keys]
        return {key: blob for key, blob in found if blob is not MISSING}

    def stored(self, space: Space, keys: list[str]) -> Collection[str]:
        """Return those of the keys under which something is stored. Called with the lock."""
        return self.fetch_many(space, keys)

    @abstractmethod
    def apply(self, space: Space, changes: Changes) -> None:
        """Store entries and, for ``MISSING``, remove them; each as a whole, or with an error.

        Called with the lock. Removing what is not there is no error, storing nothing takes no time.
        """

    @abstractmethod
    def wipe(self, space: Space) -> None:
        """Remove every entry under the lock."""

    @abstractmethod
    def listed(self, space: Space) -> list[str]:
        """Return the keys of what is stored; called as :meth:`fetch` is."""

    def incomplete(self) -> EngineError:
        """Return the error for a file of which klepto, without a word, wrote only a part."""
        hint = "" if self._space.directory.has_room() else _HINT_FULL
        return EngineError(self.name, "write", "klepto could not write all of the file", hint=hint)

    def _opened(self) -> Space:
        if self._closed:
            raise ClosedError(f"engine {self.name!r} of namespace {self._namespace!r}")
        return self._space

    def _read(self, operation: str, work: Callable[[Space], T]) -> T:
        space = self._opened()
        try:
            if not self.reads_alone:
                return work(space)
            with space.inside(operation):
                self._opened()  # it may have been closed while we waited
                return work(space)
        except CachewrightError:  # some of them are OSErrors too
            raise
        except OSError as error:
            raise disk_failure(self.name, operation, error) from error

    def _write(self, operation: str, work: Callable[[Space], T]) -> T:
        space = self._opened()
        try:
            with space.held(operation):
                self._opened()  # it may have been closed while we waited
                return work(space)
        except CachewrightError:  # as above
            raise
        except OSError as error:
            raise disk_failure(self.name, operation, error) from error


def _content(expected: Any) -> Any:
    return expected.view if isinstance(expected, MappedBlob) else expected


def _checked_options(engine: str, config: EngineConfig) -> bool:
    """Return whether the directory is trusted; refuse what cannot be kept."""
    for setting in ("maxsize", "max_bytes", "policy"):
        if getattr(config, setting) is not None:
            raise ConfigurationError(
                setting, getattr(config, setting), f"None: engine {engine!r} has no bounds"
            )
    for name, value in config.options.items():
        if name != "trust_directory":
            raise ConfigurationError(f"options[{name!r}]", value, "only trust_directory is known")
    trusted = config.options.get("trust_directory", False)
    if not isinstance(trusted, bool):
        raise ConfigurationError("options['trust_directory']", trusted, "True or False")
    return trusted
