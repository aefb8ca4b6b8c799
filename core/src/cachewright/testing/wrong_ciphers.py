"""Deliberately wrong codecs and ciphers; the kit has to fail each by the test named here."""

from __future__ import annotations

import zlib

from cachewright.builtin.zlib_codec import ZlibCodec
from cachewright.cipher import KEY_SIZE, Cipher, CipherInfo
from cachewright.codec import Codec, CodecInfo
from cachewright.testing.reference_cipher import NONCE_SIZE, ReferenceCipher


class InflatesWithoutLimit(ZlibCodec):
    """Looks at the size when everything is in memory."""

    def decompress(self, data: bytes | memoryview, /, *, size: int) -> bytes:
        whole = zlib.decompress(data)
        if len(whole) != size:
            raise ValueError("another size")
        return whole


class MissesTheEnd(ZlibCodec):
    """Has all the bytes it wants before the stream has ended."""

    def decompress(self, data: bytes | memoryview, /, *, size: int) -> bytes:
        inflater = zlib.decompressobj()
        whole = inflater.decompress(data, size + 1)
        if len(whole) != size or inflater.unused_data:
            raise ValueError("another size")
        return whole


class ReadsTheFirstStream(ZlibCodec):
    """Does not mind what follows."""

    def decompress(self, data: bytes | memoryview, /, *, size: int) -> bytes:
        inflater = zlib.decompressobj()
        whole = inflater.decompress(data, size + 1)
        if len(whole) != size or not inflater.eof:
            raise ValueError("another size")
        return whole


class FillsUp(ZlibCodec):
    """Makes what is too short as long as was asked for."""

    def decompress(self, data: bytes | memoryview, /, *, size: int) -> bytes:
        return zlib.decompress(data)[:size].ljust(size, b"\0")


class ReturnsItsBuffer(ZlibCodec):
    """Returns a bytearray that may change later."""

    def decompress(self, data: bytes | memoryview, /, *, size: int) -> bytes:
        return bytearray(super().decompress(data, size=size))  # type: ignore[return-value]  # the mistake


class RemembersTheLast(ZlibCodec):
    """Gives back what was compressed last, without reading anything."""

    last = b""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        self.last = bytes(data)
        return super().compress(data)

    def decompress(self, data: bytes | memoryview, /, *, size: int) -> bytes:
        super().decompress(data, size=size)
        return self.last


class CountsFromZero(ReferenceCipher):
    """Counts its nonces, in every instance anew."""

    count = 0

    def nonce(self) -> bytes:
        self.count += 1
        return self.count.to_bytes(NONCE_SIZE, "big")


class CountsOn(ReferenceCipher):
    """Counts its nonces from a random number on, and takes the count along into a forked child."""

    def __init__(self, key: bytes, /) -> None:
        super().__init__(key)
        self.count = int.from_bytes(super().nonce(), "big")

    def nonce(self) -> bytes:
        self.count = (self.count + 1) % (1 << 8 * NONCE_SIZE)
        return self.count.to_bytes(NONCE_SIZE, "big")


class ForgetsWhatIsAssociated(ReferenceCipher):
    """Leaves the associated bytes out of the tag."""

    def tag(self, nonce: bytes, associated: bytes, hidden: bytes) -> bytes:
        return super().tag(nonce, b"", hidden)


class ComparesHalf(ReferenceCipher):
    """Compares the first half of the tag."""

    def same(self, one: bytes, other: bytes) -> bool:
        return one[:16] == other[:16]


class OnlySigns(ReferenceCipher):
    """Proves who wrote, and hides nothing."""

    def mixed(self, nonce: bytes, text: bytes | memoryview) -> bytes:
        return bytes(text)


class TakesAnyKey(ReferenceCipher):
    """Makes any key as long as it should be."""

    def __init__(self, key: bytes, /) -> None:
        super().__init__(key[:KEY_SIZE].ljust(KEY_SIZE, b"\0"))


class KnowsOneKey(ReferenceCipher):
    """Takes every key for the same one."""

    def __init__(self, key: bytes, /) -> None:
        super().__init__(key)
        super().__init__(bytes(KEY_SIZE))


class ShowsItsKey(ReferenceCipher):
    """Shows its key to whoever prints it."""

    def __init__(self, key: bytes, /) -> None:
        super().__init__(key)
        self.key = key


WRONG_CODECS: dict[type[Codec], str] = {
    InflatesWithoutLimit: "test_a_bomb_is_refused_in_bounded_memory",
    MissesTheEnd: "test_nothing_may_be_missing",
    ReadsTheFirstStream: "test_nothing_may_follow",
    FillsUp: "test_another_size_is_refused",
    ReturnsItsBuffer: "test_what_was_compressed_comes_back",
    RemembersTheLast: "test_another_instance_reads_it",
}
"""Which test has to notice which wrong codec."""

WRONG_CIPHERS: dict[type[Cipher], str] = {
    CountsFromZero: "test_nothing_is_sealed_alike_twice",
    CountsOn: "test_a_forked_child_seals_in_its_own_way",
    ForgetsWhatIsAssociated: "test_other_associated_bytes_are_refused",
    ComparesHalf: "test_no_flipped_bit_is_accepted",
    OnlySigns: "test_plain_bytes_do_not_show",
    TakesAnyKey: "test_a_key_of_another_length_is_refused",
    KnowsOneKey: "test_another_key_is_refused",
    ShowsItsKey: "test_no_secret_shows_in_messages",
}
"""Which test has to notice which wrong cipher."""


def wrong_codec_infos() -> tuple[CodecInfo, ...]:
    """Return a record for each wrong codec."""
    return tuple(
        CodecInfo(
            name=wrong.__name__.lower(), code=0x7F, target=f"{__name__}:{wrong.__name__}", summary="wrong"
        )
        for wrong in WRONG_CODECS
    )


def wrong_cipher_infos() -> tuple[CipherInfo, ...]:
    """Return a record for each wrong cipher."""
    return tuple(
        CipherInfo(
            name=wrong.__name__.lower(), code=0x7F, target=f"{__name__}:{wrong.__name__}", summary="wrong"
        )
        for wrong in WRONG_CIPHERS
    )
