"""A stream is a joblib file in frames: read one after another, they are what ``joblib.dump`` writes.

Large arrays are frames of their own, so that they are neither copied into the file nor out of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class FrameWriter:
    """What a pickler writes to."""

    def __init__(self) -> None:
        self.frames: list[bytearray | memoryview] = []
        self._open = bytearray()
        self._position = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append a copy of ``data``."""
        size = len(data)
        self._open += data
        self._position += size
        return size

    def append(self, memory: memoryview) -> None:
        """Append flat memory as a frame of its own, uncopied."""
        self.frames += (self._open, memory)
        self._open = bytearray()
        self._position += memory.nbytes

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._position

    def finish(self) -> list[bytearray | memoryview]:
        """Return the frames; nothing may be written any more."""
        if self._open or not self.frames:
            self.frames.append(self._open)
        return self.frames


class FrameReader:
    """What an unpickler reads from."""

    def __init__(self, frames: Sequence[memoryview]) -> None:
        self._frames = frames
        self._frame: int = 0
        self._at: int = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes, fewer only at the end; all that are left if it is negative."""
        parts: list[memoryview] = []
        while size and self._frame < len(self._frames):
            frame = self._frames[self._frame]
            part = frame[self._at :] if size < 0 else frame[self._at : self._at + size]
            parts.append(part)
            self._at += len(part)
            if size > 0:
                size -= len(part)
            if self._at == len(frame):
                self._frame, self._at = self._frame + 1, 0
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def readline(self) -> bytes:
        """Return the bytes up to and with the next newline; a pickle has them in one frame."""
        if self._frame == len(self._frames):
            return b""
        frame = self._frames[self._frame]
        rest = bytes(frame[self._at : self._at + 4096])
        at = rest.find(b"\n")
        while at < 0 and self._at + len(rest) < len(frame):
            rest = bytes(frame[self._at : self._at + 2 * len(rest)])
            at = rest.find(b"\n")
        return self.read(at + 1 if at >= 0 else len(rest))

    def take(self, size: int) -> memoryview:
        """Return a view on the next ``size`` bytes, a copy of them where they lie in several frames.

        Raises:
            ValueError: there are fewer.
        """
        if self._frame < len(self._frames):
            view = self._frames[self._frame][self._at : self._at + size]
            if len(view) == size:
                self._at += size
                if self._at == len(self._frames[self._frame]):
                    self._frame, self._at = self._frame + 1, 0
                return view
        copied = self.read(size)
        if len(copied) != size:
            raise ValueError(f"an array of {size} bytes is cut off after {len(copied)}")
        return memoryview(copied)

    def at_end(self) -> bool:
        """Whether everything has been read."""
        return all(not len(frame) for frame in self._frames[self._frame + 1 :]) and (
            self._frame == len(self._frames) or self._at == len(self._frames[self._frame])
        )
