"""The envelope that a cipher closes: only who has a key reads what is inside."""

from __future__ import annotations

import struct
from math import inf
from typing import TYPE_CHECKING, Any, Final

from cachewright._envelope_parts import (
    aligned_buffers,
    append_aligned,
    flat,
    opened_meta,
    packed_meta,
)
from cachewright.envelope.header import (
    FLAGS,
    HEADER,
    HEADER_SIZE,
    JOINED_BELOW,
    MAGIC,
    NO_CODEC,
    packed_header,
)
from cachewright.envelope.signed import Envelope, content_of
from cachewright.errors import EnvelopeError, UnserializableError
from cachewright.keyring import prefixed
from cachewright.suite import CipherSuite

if TYPE_CHECKING:
    from cachewright._envelope_parts import Opened
    from cachewright.cipher import CipherInfo
    from cachewright.engine import Blob, MappedBlob
    from cachewright.keyring import KeyRing
    from cachewright.serializer import Frames

_LENGTH: Final = 8


class EncryptedEnvelope(Envelope):
    """Seals and opens encrypted entries, and no others; only the header can be read without a key.

    What is mapped is decrypted on every opening: :class:`MappedBlob` changes nothing here.

    Args:
        namespace: as for :class:`Envelope`, like the other arguments.
        ring: keys; the first one seals, every one opens.
        info: the cipher.
        **options: as for :class:`Envelope`.

    Raises:
        PluginLoadError: the cipher cannot be loaded.
    """

    def __init__(self, namespace: str, *, ring: KeyRing, info: CipherInfo, **options: Any) -> None:
        super().__init__(namespace, ring=ring, **options)
        context = options.get("context", "cachewright")
        prefix, cipher = prefixed(context) + prefixed(namespace), info.load()
        keys = ring.for_namespace(namespace, context)
        suites = [CipherSuite(prefix, key, info.code, cipher) for key in keys]
        self.cipher = info.name
        self._first = suites[0]
        self._ciphers = {suite.key_id: suite for suite in suites}
        self._suites = {}

    def seal(
        self,
        key: str,
        frames: Frames,
        *,
        serializer: int,
        created: float,
        expires: float | None = None,
        soft: float | None = None,
        seconds: float = 0.0,
        tags: tuple[str, ...] = (),
        version: str = "",
        label: bytes = b"",
        flags: int = 0,
        generation: int = 0,
    ) -> list[bytes | memoryview]:
        """Return the chunks of an envelope; see :meth:`Envelope.seal`."""
        views = [flat(frame) for frame in frames]
        return self._encrypted(
            key, views, sum(map(len, views)), (version, label, tags),
            serializer=serializer, codec=NO_CODEC, flags=flags, created=created, soft=soft, expires=expires,
            generation=generation, seconds=seconds,
        )  # fmt: skip

    def seal_run(
        self,
        key: str,
        packed: bytes,
        *,
        codec: int,
        raw: int,
        serializer: int,
        created: float,
        expires: float | None = None,
        soft: float | None = None,
        seconds: float = 0.0,
        tags: tuple[str, ...] = (),
        version: str = "",
        label: bytes = b"",
        flags: int = 0,
        generation: int = 0,
    ) -> list[bytes | memoryview]:
        """Return the chunks of an envelope around a compressed run; see :meth:`Envelope.seal_run`."""
        return self._encrypted(
            key, [memoryview(packed)], raw, (version, label, tags),
            serializer=serializer, codec=codec, flags=flags, created=created, soft=soft, expires=expires,
            generation=generation, seconds=seconds,
        )  # fmt: skip

    def _encrypted(
        self,
        key: str,
        frames: list[memoryview],
        raw: int,
        beside: tuple[str, bytes, tuple[str, ...]],
        **fields: Any,
    ) -> list[bytes | memoryview]:
        """Return header and encrypted rest.

        Args:
            key: of the entry.
            frames: what is encrypted.
            raw: the raw length in the header.
            beside: version, label and tags.
            **fields: those of :func:`packed_header`.
        """
        serializer, flags, seconds = fields["serializer"], fields["flags"], fields["seconds"]
        if not 0 < serializer < self._serializers or flags & ~FLAGS or not 0.0 <= seconds < inf:
            raise self._unusable(serializer, flags, seconds)
        first, *buffers = frames
        whole = sum(map(len, frames))
        if whole > self.max_bytes:
            raise self._too_large(whole)
        suite = self._first
        meta = packed_meta(*beside) if any(beside) else b""
        header = packed_header(suite.code, suite.key_id, (raw, len(first), len(meta), len(buffers)), **fields)
        lengths = [len(buffer).to_bytes(_LENGTH, "big") for buffer in buffers]
        rest: list[bytes | memoryview] = [meta, *lengths, first]
        append_aligned(rest, buffers)
        try:
            sealed = suite.seal(prefixed(key) + header, b"".join(rest))
        except Exception as error:  # a cipher is foreign code, and has limits of its own
            reason = f"cipher {self.cipher!r} cannot encrypt it: {type(error).__name__}"
            raise UnserializableError("serialized value", reason, hint="return less") from error
        if HEADER_SIZE + len(sealed) > self.max_bytes:
            raise self._too_large(len(sealed))
        return [header + sealed] if len(sealed) < JOINED_BELOW else [header, sealed]

    def _verify(self, key: str, blob: Blob | MappedBlob, now: float) -> Opened:
        """Decrypt, which verifies every byte, and check what was inside."""
        data = blob if type(blob) is bytes else content_of(blob)
        if len(data) > self.max_bytes:
            raise EnvelopeError("too-big")
        if len(data) < HEADER_SIZE:
            raise EnvelopeError("short")
        fields = HEADER.unpack_from(data)
        header = prefixed(key) + data[:HEADER_SIZE]
        rest = memoryview(self._cipher(fields).open(header, memoryview(data)[HEADER_SIZE:]))
        first_size, meta_size, count = fields[13:]
        start = meta_size + _LENGTH * count
        end = start + first_size
        if end > len(rest) or (end != len(rest) and not count):
            raise EnvelopeError("length")
        opened = self._admitted(fields, now)
        opened.size = len(data)
        opened.frames = [rest[start:end]]
        if meta_size:
            opened.version, opened.label, opened.tags = opened_meta(bytes(rest[:meta_size]))
        opened.special = bool(opened.flags or opened.tags or opened.soft is not None)
        if count:
            lengths: tuple[int, ...] = struct.unpack_from(f">{count}Q", rest, meta_size)
            if fields[11] != first_size + sum(lengths):
                raise EnvelopeError("length")
            opened.frames += aligned_buffers(rest, end, [(length, b"") for length in lengths])
        return opened

    def _cipher(self, fields: tuple[Any, ...]) -> CipherSuite:
        """Return the suite to decrypt with: that of a key of the ring, whatever the header claims."""
        magic, code, _, _, _, reserved, key_id, *_ = fields
        if magic != MAGIC or reserved:
            raise EnvelopeError("format")
        if code != self._first.code:
            raise EnvelopeError("suite")
        suite = self._ciphers.get(key_id)
        if suite is None:
            raise EnvelopeError("unknown-key")
        return suite
