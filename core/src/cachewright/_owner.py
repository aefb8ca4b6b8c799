"""An owner is the process that wrote a file, as its name tells, so that leftovers can be judged."""

from __future__ import annotations

import os
from functools import cache
from hashlib import blake2b


@cache
def realm() -> str:
    """Return eight hex digits for this boot of this host and this container's process numbers.

    Process numbers can be compared only inside one realm.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            boot = file.read().strip()
        boot += str(os.stat("/proc/self/ns/pid").st_ino).encode()
    except OSError:  # no /proc: the host's name is the best that is left
        boot = os.fsencode(os.uname().nodename)
    return blake2b(boot, digest_size=4).hexdigest()


def owner_mark() -> str:
    """Return the mark that this process puts into the names of the files it makes."""
    return f"{realm()}-{os.getpid():x}"


def may_be_alive(mark: str) -> bool:
    """Whether the process that left ``mark`` could still be running; unsure counts as alive."""
    where, _, number = mark.partition("-")
    if where != realm():
        return True
    try:
        os.kill(int(number, 16), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except (PermissionError, ValueError):  # of another user; or not a mark of ours at all
        return True
    return True
