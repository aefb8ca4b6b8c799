"""The key file holds the per-user key: made once, readable by its owner alone, published whole."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from cachewright.errors import ConfigurationError, UntrustedStoreError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

KEY_FILE: Final = "signing.key"
"""Name of the file that holds the key, in hexadecimal."""

_FILE_LIMIT: Final = 4096
_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY: Final = getattr(os, "O_DIRECTORY", 0)
_NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)  # opening a planted pipe must not wait for its writer
_RELATIVE: Final = {os.open, os.link, os.unlink} <= os.supports_dir_fd
_LINKLESS: Final = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def read_or_make_key(directory: Path, size: int) -> bytes:
    """Return the key kept in ``directory``; make directory and key if there is none.

    Raises:
        UntrustedStoreError: directory or file could have been prepared or read by somebody else.
        ConfigurationError: the operating system refuses to make or to read them.
    """
    try:
        with _trusted(directory) as place:
            key = _read(place, directory, size)
            if key is None:
                _publish(place, directory, secrets.token_hex(size).encode())
                key = _read(place, directory, size)
    except UntrustedStoreError:
        raise
    except OSError as error:
        expected = f"a directory in which a key file can be made and read ({error.strerror or error})"
        raise ConfigurationError("data_dir", str(directory), expected) from error
    if key is None:
        raise UntrustedStoreError(str(directory / KEY_FILE), "it vanished right after it had been made")
    return key


@contextmanager
def _trusted(directory: Path) -> Generator[int | None]:
    """Yield a descriptor of the checked directory, or ``None`` on platforms without relative opening."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    if directory.is_symlink():
        raise UntrustedStoreError(str(directory), "it is a symbolic link", hint="name the directory itself")
    if not _RELATIVE:
        yield None
        return
    place = os.open(directory, os.O_RDONLY | _DIRECTORY | _NOFOLLOW | _CLOEXEC)
    try:
        _check(os.fstat(place), directory, others_may_not=0o022, repair="chmod 700")
        yield place
    finally:
        os.close(place)


def _read(place: int | None, directory: Path, size: int) -> bytes | None:
    """Return the checked key, ``None`` if there is no file."""
    path = directory / KEY_FILE
    try:
        file = _open(place, path, os.O_RDONLY | _NOFOLLOW | _NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UntrustedStoreError(str(path), "it is a symbolic link", hint="remove it") from None
        raise
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise UntrustedStoreError(str(path), "it is not a regular file", hint="remove it")
        _check(status, path, others_may_not=0o077, repair="remove it; a new one is made")
        text = os.read(file, _FILE_LIMIT)
    finally:
        os.close(file)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""  # and no cause below: the error of the conversion could quote the secret
    if len(key) < size:
        raise UntrustedStoreError(str(path), "it holds no key", hint="remove it; a new one is made")
    return key


def _publish(place: int | None, directory: Path, text: bytes) -> None:
    """Make the key file, whole or not at all; leave it alone if somebody else was faster."""
    draft = directory / f".{KEY_FILE}.{os.getpid()}.{secrets.token_hex(8)}"
    file = _open(place, draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW)
    try:
        try:
            os.write(file, text)
            os.fsync(file)
        finally:
            os.close(file)
        _link(place, draft, directory / KEY_FILE)
    finally:
        _unlink(place, draft)


def _link(place: int | None, draft: Path, path: Path) -> None:
    """Give the draft its name unless that is taken: unlike renaming, linking never replaces a key."""
    try:
        if place is None:
            os.link(draft, path)
        else:
            os.link(draft.name, path.name, src_dir_fd=place, dst_dir_fd=place)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _LINKLESS:
            raise
        # A file system without hard links: renaming is whole as well, but two first uses at the very
        # same moment may then keep different keys until the next start; entries are misses meanwhile.
        if place is None:
            draft.rename(path)
        else:
            os.rename(draft.name, path.name, src_dir_fd=place, dst_dir_fd=place)


def _open(place: int | None, path: Path, flags: int) -> int:
    if place is None:
        return os.open(path, flags | _CLOEXEC, 0o600)
    return os.open(path.name, flags | _CLOEXEC, 0o600, dir_fd=place)


def _unlink(place: int | None, draft: Path) -> None:
    with suppress(FileNotFoundError):
        if place is None:
            draft.unlink()
        else:
            os.unlink(draft.name, dir_fd=place)


def _check(status: os.stat_result, path: Path, *, others_may_not: int, repair: str) -> None:
    """Refuse what belongs to another user or is open to others; platforms without owners pass."""
    if not hasattr(os, "geteuid"):
        return
    if status.st_uid != os.geteuid():
        raise UntrustedStoreError(str(path), "it belongs to another user", hint="choose another data_dir")
    if status.st_mode & others_may_not:
        mode = stat.S_IMODE(status.st_mode)
        raise UntrustedStoreError(str(path), f"its mode {mode:o} lets other users in", hint=repair)
