"""Pages are checked for what the library's own check leaves out, and what no store of ours has.

LMDB moves the nodes of a page by their sizes, so that a size which is wrong by one bit makes it write
beyond the page as soon as something is deleted. And what a flag announces, such as several values of one
key, it looks for without asking whether it is there. The layout is that of LMDB 0.9 on a 64-bit processor.
"""

from __future__ import annotations

import os
from struct import Struct, unpack_from
from typing import Final

_HEADER: Final = 16
_META: Final = Struct("=IHH40xIH42x8xQ")
"""Page size, flags and depth of the tree of free pages, pad and flags of that of entries, transaction."""

_KINDS: Final = (0x4008, 0, 0)
"""Flags of the tree of free pages: keys that are numbers, a file that is not in a folder of its own. Then pad
and flags of the tree of entries: none."""

_ROOTS: Final = (_HEADER + 64, _HEADER + 112)
"""Where a meta page has the roots of the tree of free pages and of that of entries."""

_BASE: Final = _HEADER + 24
_BOUNDS: Final = Struct("=HHH")
_NODE: Final = Struct("=HHHH")
_BRANCH: Final = 1
_LEAF: Final = 2
_ELSEWHERE: Final = 1
_NONE: Final = (1 << 64) - 1


def misfit_of(path: str) -> str:
    """Return what does not fit together, empty for nothing; for a file that is sound otherwise.

    Raises:
        OSError: it cannot be read.
        struct.error: it is not sound.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        size: int = _META.unpack(os.pread(file, _META.size, _BASE))[0]
        metas = [os.pread(file, size, number * size) for number in (0, 1)]
        latest = max(metas, key=lambda meta: _META.unpack_from(meta, _BASE)[5])
        _, free, _, pad, entries, _ = _META.unpack_from(latest, _BASE)
        if (free, pad, entries) != _KINDS:
            return "its trees are not those of a store"
        pending = [root for at in _ROOTS for root in unpack_from("=Q", latest, at) if root != _NONE]
        while pending:
            number = pending.pop()
            children = _children(os.pread(file, size, number * size))
            if children is None:
                return f"the nodes of page {number} do not fit"
            pending += children
    finally:
        os.close(file)
    return ""


def _children(page: bytes) -> list[int] | None:
    """Return the pages below a page, none for a leaf; ``None`` if its nodes are not as we have them."""
    flags, lower, upper = _BOUNDS.unpack_from(page, 10)
    if flags not in (_BRANCH, _LEAF):
        return None
    children: list[int] = []
    expected = upper
    for at in sorted(unpack_from(f"={(lower - _HEADER) // 2}H", page, _HEADER)):
        if at != expected:
            return None
        low, high, kind, length = _NODE.unpack_from(page, at)
        used = _NODE.size + length
        if flags == _BRANCH:
            children.append(low | high << 16 | kind << 32)
        elif kind not in (0, _ELSEWHERE):
            return None
        else:
            used += 8 if kind else low | high << 16
        expected = at + used + (used & 1)
    return children if expected == len(page) else None
