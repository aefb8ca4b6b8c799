"""The check of a data pickle reads its opcodes before the unpickler does and refuses all but plain data.

The unpickler alone would not be enough: a few bytes can make it reserve gigabytes for its memo, hand
out classes registered as extensions, change attributes of whatever a global named, or hash a tuple that
holds itself twice, thirty levels deep. So only opcodes that the pickler of plain data writes are let
through, only globals are called, only a list, dict or set made right there is filled, and the work of
hashing keys and of calls is bounded by the size of the pickle.
"""

from __future__ import annotations

import re
from pickle import UnpicklingError
from typing import Final, TypeAlias

PROTOCOL: Final = b"\x80\x05"

DEPTH_LIMIT: Final = 5000
"""Deepest nesting: hashing a tuple recurses in C, where no limit protects the stack."""

_FREE_WORK: Final = 10_000_000
_FEW_TUPLES: Final = 500
_FEW_CONTAINERS: Final = 20_000
_SHARED_WORK: Final = 1 << 24

# Counted strings of up to 255 bytes, one alternative per length: the engine of regular expressions reads
# opcodes ten times faster than a loop. A pickle without calls and with few tuples needs nothing else.
_COUNTED: Final = b"|".join(re.escape(bytes([n])) + (b".{%d}" % n if n else b"") for n in range(256))
_SIMPLE: Final = re.compile(
    rb"(?:[NTF()\]}\x88\x89\x8f\x90\x91\x94aesu01]"
    rb"|[Kh].|M..|[Jj].{4}|[G\x95].{8}"
    rb"|[\x8cC\x8a](?:" + _COUNTED + rb"))*+",
    re.DOTALL,
)
_LONG_COUNTED: Final = {0x58: 4, 0x42: 4, 0x8B: 4, 0x8D: 8, 0x8E: 8, 0x96: 8}  # opcode: width of the count
_SHORT_COUNTED: Final = {0x8C: 1, 0x43: 1, 0x8A: 1}
_TUPLES: Final = {0x74: 0, 0x85: 1, 0x86: 2, 0x87: 3}
_STOP: Final = 0x2E

_ATOM_SIZES: Final = {0x4E: 1, 0x88: 1, 0x89: 1, 0x4B: 2, 0x4D: 3, 0x4A: 5, 0x47: 9, 0x97: 1}
_LIST, _DICT, _SET, _TUPLE, _GLOBAL, _OTHER = range(6)
_EMPTY: Final = {0x5D: _LIST, 0x7D: _DICT, 0x8F: _SET, 0x29: _TUPLE}

_Item: TypeAlias = "list[int]"
"""What the walk knows of an object: its kind, what hashing or copying it costs, how deep it is."""


def check_pickle(pickled: bytes) -> None:
    """Let a pickle of plain data pass.

    Raises:
        UnpicklingError: it holds an opcode, a call, a nesting or an amount of work that plain data has not.
    """
    if pickled[:2] != PROTOCOL or pickled[-1:] != b".":
        raise UnpicklingError("not a whole pickle of protocol 5")
    if not _is_simple(pickled):
        _Walk(pickled).run()


def _is_simple(pickled: bytes) -> bool:
    """Tell whether a fast look shows only opcodes without danger, in numbers without danger."""
    if len(pickled) > _FEW_CONTAINERS and sum(map(pickled.count, (b"]", b"}", b"\x8f"))) > _FEW_CONTAINERS:
        return False
    end = len(pickled) - 1
    place = 2
    few: bool | None = None
    while place < end:
        place = _SIMPLE.match(pickled, place).end()  # type: ignore[union-attr]  # it also matches nothing
        if place >= end:
            break
        opcode = pickled[place]
        width = _LONG_COUNTED.get(opcode)
        if width is not None:
            place += 1 + width + int.from_bytes(pickled[place + 1 : place + 1 + width], "little")
            continue
        if opcode not in _TUPLES:
            return False
        few = _few_tuples(pickled) if few is None else few
        if not few:
            return False
        place += 1
    return place == end


def _few_tuples(pickled: bytes) -> bool:
    """Tell whether there cannot be enough tuples, or look-ups to share them, to make hashing dear."""
    tuples = sum(map(pickled.count, (b"t", b"\x85", b"\x86", b"\x87")))
    shared = pickled.count(b"h") + pickled.count(b"j")
    return tuples <= _FEW_TUPLES and shared < 24 and len(pickled) << shared <= _SHARED_WORK


class _Walk:
    """Follows the unpickler's stack with weights in the place of objects."""

    def __init__(self, pickled: bytes) -> None:
        self.pickled = pickled
        self.stack: list[_Item] = []
        self.marks: list[int] = []
        self.memo: list[_Item] = []
        self.work = _FREE_WORK + 8 * len(pickled)

    def run(self) -> None:
        """Walk to the end; ``IndexError`` is what a pickle gets that takes more than it has put."""
        pickled, stack, memo = self.pickled, self.stack, self.memo
        atom = [_OTHER, 1, 0]
        sizes = _ATOM_SIZES
        place, end = 2, len(pickled) - 1
        while place < end:
            opcode = pickled[place]
            size = sizes.get(opcode)
            if size is not None:
                stack.append(atom)
                place += size
            elif opcode == 0x94:  # MEMOIZE
                memo.append(stack[-1])
                place += 1
            elif opcode == 0x68:  # BINGET
                stack.append(memo[pickled[place + 1]])
                place += 2
            else:
                place = self._counted_or_rare(opcode, place)
        if place != end or len(stack) != 1 or self.marks:
            raise UnpicklingError("the pickle does not end where it should")

    def _counted_or_rare(self, opcode: int, place: int) -> int:
        width = _SHORT_COUNTED.get(opcode) or _LONG_COUNTED.get(opcode)
        if width is not None:
            start = place + 1 + width
            length = int.from_bytes(self.pickled[place + 1 : start], "little")
            self.stack.append([_OTHER, 1 + (length >> 3), 0])
            return start + length
        if opcode == 0x95:  # FRAME
            return place + 9
        if opcode == 0x6A:  # LONG_BINGET
            index = int.from_bytes(self.pickled[place + 1 : place + 5], "little")
            self.stack.append(self.memo[index])
            return place + 5
        kind = _EMPTY.get(opcode)
        if kind is not None:
            self.stack.append([kind, 1, 1])
        elif opcode == 0x28:  # MARK
            self.marks.append(len(self.stack))
        elif opcode in _TUPLES:
            self._tuple(_TUPLES[opcode])
        else:
            self._fill_or_call(opcode)
        return place + 1

    def _fill_or_call(self, opcode: int) -> None:
        match opcode:
            case 0x61:  # APPEND
                self._fill(_LIST, [self.stack.pop()])
            case 0x65:  # APPENDS
                self._fill(_LIST, self._since_mark())
            case 0x73:  # SETITEM
                value, key = self.stack.pop(), self.stack.pop()
                self._fill(_DICT, [key, value])
            case 0x75:  # SETITEMS
                self._fill(_DICT, self._since_mark())
            case 0x90:  # ADDITEMS
                self._fill(_SET, self._since_mark())
            case 0x91:  # FROZENSET
                members = self._since_mark()
                self.stack.append([_SET, 1, 1])
                self._fill(_SET, members)
                self.stack[-1][0] = _OTHER
            case _:
                self._call_or_drop(opcode)

    def _call_or_drop(self, opcode: int) -> None:
        match opcode:
            case 0x52:  # REDUCE
                self._call()
            case 0x93:  # STACK_GLOBAL
                del self.stack[-2:]
                self.stack.append([_GLOBAL, 1, 0])
            case 0x98:  # READONLY_BUFFER
                pass
            case 0x30:  # POP, after a tuple that contains itself
                if len(self.stack) == (self.marks[-1] if self.marks else 0):
                    self.marks.pop()
                else:
                    self.stack.pop()
            case 0x31:  # POP_MARK, likewise
                self._since_mark()
            case _:
                raise UnpicklingError("an opcode that plain data does not need")

    def _since_mark(self) -> list[_Item]:
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def _tuple(self, size: int) -> None:
        if size:
            items = self.stack[-size:]
            del self.stack[-size:]
        else:
            items = self._since_mark()
        weight = 1 + sum([item[1] for item in items])
        self.stack.append([_TUPLE, weight, self._deeper(items)])

    def _fill(self, kind: int, items: list[_Item]) -> None:
        target = self.stack[-1]
        if target[0] != kind or (kind == _DICT and len(items) % 2):
            raise UnpicklingError("something is put into what is not the container for it")
        target[1] += len(items)
        target[2] = max(target[2], self._deeper(items))
        if kind != _LIST:
            hashed = sum([item[1] for item in (items[::2] if kind == _DICT else items)])
            target[1] += hashed
            self._spend(hashed)

    def _call(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if called[0] != _GLOBAL or arguments[0] != _TUPLE:
            raise UnpicklingError("a call of what is not a constructor")
        self._spend(arguments[1])
        self.stack.append([_OTHER, arguments[1], arguments[2]])

    def _spend(self, work: int) -> None:
        self.work -= work
        if self.work < 0:
            raise UnpicklingError("more work than plain data of this size needs")

    def _deeper(self, items: list[_Item]) -> int:
        depth = 1 + max([item[2] for item in items], default=0)
        if depth > DEPTH_LIMIT:
            raise UnpicklingError("nested too deeply")
        return depth
