"""The envelope whose tag is all that a key makes: what is inside can be read by who reads the store."""

from __future__ import annotations

import struct
from hmac import compare_digest
from math import inf
from typing import TYPE_CHECKING, Any, Final

from cachewright._envelope_parts import (
    ROW,
    Deflated,
    Opened,
    VerifiedBuffers,
    aligned_buffers,
    aligned_end,
    append_aligned,
    deadline,
    flat,
    may_inflate,
    microsecond,
    opened_meta,
    packed_meta,
    verify_buffers,
)
from cachewright.engine import MappedBlob
from cachewright.envelope.header import (
    FLAGS,
    HEADER,
    HEADER_SIZE,
    JOINED_BELOW,
    MAGIC,
    NO_CODEC,
    packed_header,
)
from cachewright.errors import EnvelopeError, UnserializableError
from cachewright.keyring import prefixed
from cachewright.serializer import EXECUTABLE
from cachewright.suite import Blake2bSuite, HmacSuite, Suite

if TYPE_CHECKING:
    from cachewright.codec.codecs import Codecs
    from cachewright.engine import Blob
    from cachewright.keyring import KeyRing
    from cachewright.serializer import Frames

# a method of what another module exports is looked up more slowly than one of a name of this module
_HEADER: Final = HEADER
_ROW_SIZE: Final = ROW.size
_HMAC_FROM: Final = 2048
"""Total frame bytes from which HMAC-SHA-256 beats keyed BLAKE2b."""
_REMEMBERED: Final = 1024
_REMEMBERED_ENTRIES: Final = 512
"""Envelopes of at most so many bytes, and so many of them, are remembered as verified."""


class Envelope:
    """Seals and opens the entries of one namespace; may be shared by threads.

    Args:
        namespace: entries of another namespace are refused.
        ring: keys; ``None`` leaves entries unauthenticated (suite CHK) and refuses keyed ones. With a
            ring only keyed suites are accepted: what a blob claims never decides.
        executable: whether serializers whose decoding could execute code may be sealed and opened.
        max_bytes: largest envelope that is sealed or opened.
        context: the application; entries of another one are refused.
        skew: seconds by which the clocks of those who share a store may differ. An entry from the future
            is otherwise refused: after a backward step of the clock it would live for longer than its ttl.
            Only for stores that end entries by a clock of their own.
        codecs: what opens compressed entries; ``None`` refuses them.
    """

    cipher: str = ""
    """Name of the cipher that encrypts; empty if none does."""

    def __init__(
        self,
        namespace: str,
        *,
        ring: KeyRing | None,
        executable: bool = False,
        max_bytes: int = 1 << 31,
        context: str = "cachewright",
        skew: float = 0.0,
        codecs: Codecs | None = None,
    ) -> None:
        self.namespace = namespace
        self.executable = executable
        self.max_bytes = max_bytes
        self._serializers = 0x100 if executable else EXECUTABLE
        self._skew = skew
        self._codecs = codecs
        self._verified = VerifiedBuffers()
        self._known: dict[str, tuple[bytes, Opened]] = {}
        prefix = prefixed(context) + prefixed(namespace)
        suites: list[Suite]
        if ring is None:
            suites = [Blake2bSuite(prefix, None)]
            self._small = self._large = suites[0]
        else:
            keys = ring.for_namespace(namespace, context)
            suites = [suite for key in keys for suite in (Blake2bSuite(prefix, key), HmacSuite(prefix, key))]
            self._small, self._large = suites[:2]
        self._suites: dict[int, dict[bytes, Suite]] = {}
        for suite in suites:
            self._suites.setdefault(suite.code, {})[suite.key_id] = suite

    def __repr__(self) -> str:
        kind = "unauthenticated" if 0 in self._suites else "authenticated"
        return f"{type(self).__name__}({self.namespace!r}, {kind}, executable={self.executable})"

    @property
    def key_id(self) -> bytes:
        """The id of the key that seals, zeros where none does."""
        return self._small.key_id

    def may_inflate(self, raw: int, size: int) -> bool:
        """Whether a run of ``raw`` bytes that was compressed to ``size`` would be opened again."""
        return raw <= self.max_bytes and may_inflate(raw, size)

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
        """Return the chunks of an envelope, to be stored one after another; large frames are not copied.

        Deadlines are rounded down to the microsecond, so that none is ever exceeded.

        Raises:
            UnserializableError: the envelope would be larger than ``max_bytes``.
            ValueError: a serializer that is not allowed here, unknown flags, a number out of range.
        """
        if not 0 < serializer < self._serializers or flags & ~FLAGS or not 0.0 <= seconds < inf:
            raise self._unusable(serializer, flags, seconds)
        first = frames[0]
        if type(first) is not bytes:
            first = flat(first)
        buffers = [flat(frame) for frame in frames[1:]] if len(frames) > 1 else []
        raw = len(first) + sum(map(len, buffers)) if buffers else len(first)
        suite = self._small if raw < _HMAC_FROM else self._large
        meta = packed_meta(version, label, tags) if tags or version or label else b""
        size = HEADER_SIZE + suite.tag_size + len(meta) + _ROW_SIZE * len(buffers) + len(first)
        if aligned_end(size, buffers) > self.max_bytes:
            raise self._too_large(raw)
        try:
            header = _HEADER.pack(
                MAGIC, suite.code, serializer, NO_CODEC, flags, 0, suite.key_id,
                microsecond(created), deadline(soft), deadline(expires), generation,
                raw, seconds, len(first), len(meta), len(buffers),
            )  # fmt: skip
        except (struct.error, OverflowError) as error:
            raise ValueError(f"created={created}, generation={generation}: {error}") from None
        described = meta + b"".join([ROW.pack(len(buffer), suite.digest(buffer)) for buffer in buffers])
        tag = suite.tag(prefixed(key) + header + described, first)
        if len(first) < JOINED_BELOW:
            chunks: list[bytes | memoryview] = [b"".join((header, tag, described, first))]
        else:
            chunks = [header + tag + described, first]
        if buffers:
            append_aligned(chunks, buffers)
        return chunks

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
        """Return the chunks of an envelope around a compressed run; see :meth:`seal`, which this spares.

        ``codec`` has made ``packed`` of ``raw`` bytes; ask :meth:`may_inflate` before.
        """
        if not 0 < serializer < self._serializers or flags & ~FLAGS or not 0.0 <= seconds < inf:
            raise self._unusable(serializer, flags, seconds)
        suite = self._small if len(packed) < _HMAC_FROM else self._large
        meta = packed_meta(version, label, tags) if tags or version or label else b""
        if HEADER_SIZE + suite.tag_size + len(meta) + len(packed) > self.max_bytes:
            raise self._too_large(len(packed))
        header = packed_header(
            suite.code, suite.key_id, (raw, len(packed), len(meta), 0),
            serializer=serializer, codec=codec, flags=flags, created=created, soft=soft, expires=expires,
            generation=generation, seconds=seconds,
        )  # fmt: skip
        head = header + suite.tag(prefixed(key) + header + meta, packed) + meta
        return [head + packed] if len(packed) < JOINED_BELOW else [head, packed]

    def open(self, key: str, blob: Blob | MappedBlob, *, now: float) -> Opened:
        """Verify an envelope and return what it holds; it may be shared, and must not be changed.

        Every byte is verified, with two exceptions that have been verified before by this very envelope:
        the same small bytes under the same key, and the buffers of a :class:`MappedBlob` of the same
        identity and tag. Expiry is judged on every call.

        Args:
            key: the key under which ``blob`` was found.
            blob: what the engine returned.
            now: seconds since the epoch.

        Raises:
            EnvelopeError: it must not be used; ``reason`` says why. An entry is ``expired`` from its hard
                expiry on, and also before its creation, but for ``skew``.
        """
        known = self._known.get(key)
        if known is not None and type(blob) is bytes and known[0] == blob:
            opened = known[1]
            if opened.expires is not None and not opened.created - self._skew <= now < opened.expires:
                raise EnvelopeError("expired")
            return opened
        opened = self._verify(key, blob, now)
        if type(blob) is bytes and len(blob) <= _REMEMBERED:
            if len(self._known) >= _REMEMBERED_ENTRIES:
                self._known.clear()
            self._known[key] = (blob, opened)
        return opened

    def _verify(  # noqa: C901 - one list of checks, in order
        self, key: str, blob: Blob | MappedBlob, now: float
    ) -> Opened:
        """Do what :meth:`open` promises, for bytes that were not met before."""
        data: bytes | memoryview = blob if type(blob) is bytes else content_of(blob)
        if len(data) > self.max_bytes:
            raise EnvelopeError("too-big")
        if len(data) < HEADER_SIZE:
            raise EnvelopeError("short")
        fields = _HEADER.unpack_from(data)
        first_size, meta_size, count = fields[13:]
        suite = self._suite(fields)
        body = HEADER_SIZE + suite.tag_size
        table = body + meta_size
        start = table + _ROW_SIZE * count
        end = start + first_size
        if end > len(data):
            raise EnvelopeError("short")
        if end != len(data) and not count:
            raise EnvelopeError("length")
        tag = bytes(data[HEADER_SIZE:body])
        first = memoryview(data)[start:end]
        if not compare_digest(suite.tag(prefixed(key) + data[:HEADER_SIZE] + data[body:start], first), tag):
            raise EnvelopeError("auth")
        opened = self._admitted(fields, now)
        opened.size = len(data)
        opened.frames = [first]
        if meta_size:
            opened.version, opened.label, opened.tags = opened_meta(bytes(data[body:table]))
        opened.special = bool(opened.flags or opened.tags or opened.soft is not None)
        if count:
            rows = list(ROW.iter_unpack(data[table:start]))
            if fields[11] != first_size + sum(length for length, _ in rows):
                raise EnvelopeError("length")
            buffers = aligned_buffers(memoryview(data), end, rows)
            identity = blob.identity if isinstance(blob, MappedBlob) else None
            verified = (identity, suite.code, suite.key_id, tag)
            if identity is None or verified not in self._verified:
                verify_buffers(suite, rows, buffers)
                if identity is not None:
                    self._verified.add(verified)
            opened.frames += buffers
        return opened

    def _suite(self, fields: tuple[Any, ...]) -> Suite:
        """Return the suite to verify with: one of those configured, whatever the header claims."""
        magic, code, _, _, _, reserved, key_id, *_ = fields
        if magic != MAGIC or reserved:
            raise EnvelopeError("format")
        by_id = self._suites.get(code)
        if by_id is None:
            raise EnvelopeError("suite")
        suite = by_id.get(key_id)
        if suite is None:
            raise EnvelopeError("unknown-key")
        return suite

    def _admitted(self, fields: tuple[Any, ...], now: float) -> Opened:
        """Check an authenticated header, which without a ring is still what anybody wanted it to be."""
        (
            _, _, serializer, codec, flags, _, _, created_us, soft_us, expires_us,
            generation, raw, seconds, first_size, _, count,
        ) = fields  # fmt: skip
        if flags & ~FLAGS:
            raise EnvelopeError("flags")
        if not 0 < serializer < self._serializers:
            raise EnvelopeError("serializer")
        if codec:
            opened = self._deflated(codec, raw, first_size, count)
        elif raw != first_size and not count:
            raise EnvelopeError("length")
        else:
            opened = Opened()
        if not 0.0 <= seconds < inf:
            raise EnvelopeError("format")
        created = created_us / 1e6
        expires = expires_us / 1e6 if expires_us else None
        if expires is not None and not created - self._skew <= now < expires:
            raise EnvelopeError("expired")
        opened.created = created
        opened.expires = expires
        opened.soft = soft_us / 1e6 if soft_us else None
        opened.serializer = serializer
        opened.codec = codec
        opened.flags = flags
        opened.generation = generation
        opened.seconds = seconds
        opened.version, opened.label, opened.tags = "", b"", ()
        return opened

    def _deflated(self, codec: int, raw: int, size: int, count: int) -> Opened:
        """Return what opens a compressed entry: with an installed codec, in bounds that hold beforehand."""
        codecs = self._codecs
        if codecs is None or codec not in codecs:
            raise EnvelopeError("codec")
        if count:
            raise EnvelopeError("length")
        if not self.may_inflate(raw, size):
            raise EnvelopeError("too-big")
        return Deflated(codecs, raw)

    def _too_large(self, size: int) -> UnserializableError:
        reason = f"it takes {size} bytes, and with its header an entry here may take {self.max_bytes}"
        return UnserializableError("serialized value", reason, hint="raise max_value_bytes or return less")

    def _unusable(self, serializer: int, flags: int, seconds: float) -> ValueError:
        if not 0 < serializer < self._serializers:
            allowed = f"0x01 to {self._serializers - 1:#04x}"
            return ValueError(f"serializer id {serializer:#04x} is not allowed here, only {allowed}")
        if flags & ~FLAGS:
            return ValueError(f"flags {flags:#04x} are unknown; known are NEGATIVE, EXCEPTION and CLAIM")
        return ValueError(f"seconds={seconds} is not a finite duration")


def content_of(blob: Blob | MappedBlob) -> memoryview:
    """Return what an engine returned as a read-only view of single bytes."""
    return flat(blob.view if isinstance(blob, MappedBlob) else blob)
