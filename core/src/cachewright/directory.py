"""A store directory is where an engine keeps files: made private, opened without following links, checked.

Every engine that keeps files opens its directory here, so that all of them refuse the same things::

    directory = open_store_directory(config.path, engine="shelf")
    shelf = shelve_library.open(directory.path)
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cachewright._filesystem import network_type
from cachewright.errors import (
    CachewrightError,
    ConfigurationError,
    EngineError,
    EngineUnavailableError,
    UntrustedStoreError,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CREATE_FLAGS", "DIRECTORY_FLAGS", "StoreDirectory", "create_file", "disk_failure", "is_full",
           "open_store_directory"]  # fmt: skip

DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a directory is opened: not through a symbolic link, not inherited by other programs."""

CREATE_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a file is made that must not exist yet."""

_MARKERS: Final = {
    "CACHEDIR.TAG": b"Signature: 8a477f597d28d172789f06886806bc55\n# A cache; see https://bford.info/cachedir/\n",
    ".gitignore": b"*\n",
}
_TRUST_HINT: Final = (
    "give a directory that belongs to this user, or options={'trust_directory': True} if you trust"
    " everybody who can write there"
)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED: Final = (errno.EROFS, errno.EACCES, errno.EPERM)
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE)


class StoreDirectory:
    """An open directory; what has to be safe from renaming is reached through its descriptor.

    The descriptor is closed with the last reference, so that a thread that still works in a
    directory which another thread has replaced never meets a reused number.

    Attributes:
        path: absolute, without symbolic links.
        descriptor: for ``dir_fd=``.
        identity: device and inode.
        private: owned by this user, and nobody else has any access; what an engine's ``private`` returns.
        trusted: files in it may belong to somebody else.
    """

    __slots__ = ("__weakref__", "descriptor", "identity", "path", "private", "trusted")

    def __init__(self, path: str, descriptor: int, *, trusted: bool) -> None:
        self.path = path
        self.descriptor = descriptor
        self.trusted = trusted
        status = os.fstat(descriptor)
        self.identity = (status.st_dev, status.st_ino)
        self.private = status.st_uid == os.geteuid() and not status.st_mode & 0o077

    def __del__(self) -> None:
        with suppress(OSError):  # it is closed whatever the system says
            os.close(self.descriptor)

    def in_place(self) -> bool:
        """Whether the path still leads to this directory; unsure counts as yes."""
        try:
            status = os.stat(self.path, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return (status.st_dev, status.st_ino) == self.identity

    def has_room(self) -> bool:
        """Whether the file system says that there is a megabyte left."""
        try:
            free = os.fstatvfs(self.descriptor)
        except OSError:
            return False
        return free.f_bavail * free.f_frsize > 1 << 20

    def check_file(self, name: str) -> os.stat_result | None:
        """Return the status of a store file, ``None`` where there is none.

        Raises:
            UntrustedStoreError: it is a symbolic link, belongs to somebody else, has a second name,
                or can be written by others, and the directory is not declared as trusted.
        """
        try:
            status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        path = os.path.join(self.path, name)
        if stat.S_ISLNK(status.st_mode):
            raise UntrustedStoreError(path, "it is a symbolic link", hint="remove it")
        if self.trusted or not stat.S_ISREG(status.st_mode):
            return status
        if status.st_uid != os.geteuid():
            raise UntrustedStoreError(path, "it belongs to another user", hint=_TRUST_HINT)
        if status.st_mode & 0o022:
            raise UntrustedStoreError(path, "other users can write it", hint=_TRUST_HINT)
        if status.st_nlink > 1:
            raise UntrustedStoreError(path, "it has a second name elsewhere", hint="remove it")
        return status


def open_store_directory(path: Path, *, engine: str, trusted: bool = False) -> StoreDirectory:
    """Open the directory of a store, and make it (0700) with missing parents where it is absent.

    A directory that was made here gets ``CACHEDIR.TAG`` and ``.gitignore``.

    Args:
        path: may be relative and may be a symbolic link of this user's own.
        engine: name of the engine, for messages.
        trusted: accept a directory and files that belong to somebody else.

    Raises:
        UntrustedStoreError: it belongs to somebody else.
        ConfigurationError: it lies on a network file system, or is no path.
        EngineUnavailableError: it cannot be made or opened.
    """
    try:
        real = os.path.realpath(path)
        if not trusted:
            _check_link(os.fspath(path))
        made = _make(real)
        directory = StoreDirectory(real, os.open(real, DIRECTORY_FLAGS), trusted=trusted)
        _check_owner(directory)
        if made:
            os.fchmod(directory.descriptor, 0o700)  # a umask may have taken the owner's own bits
            directory.private = True
    except ValueError as error:
        raise ConfigurationError("path", path, f"a path ({error})") from error
    except CachewrightError:  # some of them are OSErrors too
        raise
    except OSError as error:
        raise disk_failure(engine, f"open {path}", error, opening=True) from error
    network = network_type(real)
    if network:
        raise ConfigurationError(
            "path", os.fspath(path), f"a directory on a local disk, for this one is on {network}, whose locks"
            " do not hold; to share entries between hosts use scope='network' with a server such as redis",
        )  # fmt: skip
    if made:
        _add_markers(directory)
    return directory


def create_file(name: str, content: bytes, descriptor: int) -> None:
    """Make a file (0600) that must not exist yet, in the directory open as ``descriptor``."""
    file = os.open(name, CREATE_FLAGS, 0o600, dir_fd=descriptor)
    try:
        os.fchmod(file, 0o600)
        os.write(file, content)
    finally:
        os.close(file)


def is_full(error: OSError) -> bool:
    """Whether the disk, a quota or a file has no room left."""
    return error.errno in _FULL


def disk_failure(engine: str, operation: str, error: OSError, *, opening: bool = False) -> EngineError:
    """Return the engine error for what the operating system reported, with what would help.

    Args:
        engine: name of the engine.
        operation: what was asked for, as in ``failed to <operation>``.
        error: the original; becomes the cause where the result is raised ``from`` it.
        opening: the store could not be opened at all.
    """
    hint = ""
    if error.errno in _FULL:
        hint = "free some space on that disk, or give path= on another one"
    elif error.errno in _DENIED:
        hint = "make the directory writable for this user, or give another path="
    elif error.errno in _EXHAUSTED:
        hint = "raise the limit of open files (ulimit -n)"
    cls = EngineUnavailableError if opening else EngineError
    return cls(engine, operation, error.strerror or str(error), hint=hint)


def _check_link(path: str) -> None:
    try:
        status = os.lstat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        raise
    if stat.S_ISLNK(status.st_mode) and status.st_uid not in (os.geteuid(), 0):
        raise UntrustedStoreError(path, "it is another user's symbolic link", hint=_TRUST_HINT)


def _check_owner(directory: StoreDirectory) -> None:
    owner = os.fstat(directory.descriptor).st_uid
    if owner != os.geteuid() and not directory.trusted:
        raise UntrustedStoreError(
            directory.path, f"it belongs to user {owner}, not to {os.geteuid()}", hint=_TRUST_HINT
        )


def _make(path: str) -> bool:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return False
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if parent == path:
            raise
        _make(parent)
        return _make(path)
    return True


def _add_markers(directory: StoreDirectory) -> None:
    """Tell backup programs and git to pass by; only where the directory is nobody else's already."""
    for name, content in _MARKERS.items():
        try:
            create_file(name, content, directory.descriptor)
        except OSError:  # a full disk must not keep the store from opening; the files are a courtesy
            return
