"""The kit for authors of ciphers: nothing shows, nothing can be changed, and no nonce comes twice."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Final

import pytest

from cachewright.cipher import FIRST_CODE, KEY_SIZE, Cipher, CipherInfo
from cachewright.testing.kit import Kit

KEY: Final = bytes(range(1, KEY_SIZE + 1))
ASSOCIATED: Final = b"namespace, key and header"
PLAIN: Final = b"a canary in plain sight " * 4
SIZES: Final = (0, 1, 15, 16, 17, 64, 1000, 65_536, 1_000_003)
LEAST_OVERHEAD: Final = 12 + 16
"""Bytes of the shortest nonce and the shortest tag that anybody should use."""


class CipherKit(Kit):
    """Every promise of :class:`~cachewright.cipher.Cipher` as a test.

    It cannot tell a good algorithm from a bad one: test vectors of whoever specified it do that.

    Example, a whole test file::

        from cachewright.testing import CipherKit
        from cachewright_nacl.plugin import XCHACHA20

        class TestXChaCha20(CipherKit):
            info = XCHACHA20

    Attributes:
        info: the record of the cipher under test.
    """

    info: ClassVar[CipherInfo]
    stakes: ClassVar[str] = "whoever reaches the store would read entries, or forge them"

    @pytest.fixture
    def cipher(self) -> Cipher:
        """The cipher under test, with a key."""
        return self._made(KEY)

    def test_the_record_makes_sense(self) -> None:
        """Name, code and summary are possible."""
        assert self.info.name == self.info.name.lower().strip()
        assert self.info.name
        assert FIRST_CODE <= self.info.code <= 255
        assert self.info.summary

    @pytest.mark.parametrize("size", SIZES)
    def test_what_was_sealed_is_opened(self, cipher: Cipher, size: int) -> None:
        """Bytes of any length, given as bytes or as a view, come back as the same ``bytes``."""
        plain = random.Random(size).randbytes(size)
        for given in (plain, memoryview(plain), memoryview(b"a" + plain + b"z")[1:-1]):
            sealed = cipher.seal(ASSOCIATED, given)
            assert type(sealed) is bytes
            for stored in (sealed, memoryview(b"h" + sealed)[1:]):
                back = cipher.open(ASSOCIATED, stored)
                assert type(back) is bytes
                assert back == plain

    def test_nothing_may_be_associated(self, cipher: Cipher) -> None:
        """Associated bytes may be empty or long."""
        for associated in (b"", bytes(100_000)):
            assert cipher.open(associated, cipher.seal(associated, PLAIN)) == PLAIN

    def test_other_associated_bytes_are_refused(self, cipher: Cipher) -> None:
        """An entry cannot be moved: each other header, key or namespace is refused."""
        sealed = cipher.seal(ASSOCIATED, PLAIN)
        others = [b"", ASSOCIATED[:-1], ASSOCIATED + b"\0", b"\0" + ASSOCIATED, ASSOCIATED[::-1]]
        flipped = [_flipped(ASSOCIATED, bit) for bit in range(8 * len(ASSOCIATED))]
        for other in [*others, *flipped]:
            self._assert_refused(cipher, sealed, other)

    def test_another_key_is_refused(self, cipher: Cipher) -> None:
        """A key that differs in a single bit opens nothing."""
        sealed = cipher.seal(ASSOCIATED, PLAIN)
        for bit in (0, 7, 100, 8 * KEY_SIZE - 1):
            self._assert_refused(self._made(_flipped(KEY, bit)), sealed)

    def test_no_flipped_bit_is_accepted(self, cipher: Cipher) -> None:
        """Each single bit of nonce, encrypted bytes and tag counts."""
        for plain in (b"", PLAIN):
            sealed = cipher.seal(ASSOCIATED, plain)
            for bit in range(8 * len(sealed)):
                self._assert_refused(cipher, _flipped(sealed, bit))

    def test_no_other_length_is_accepted(self, cipher: Cipher) -> None:
        """Cut off at either end anywhere, lengthened, or two in one, it is refused."""
        sealed = cipher.seal(ASSOCIATED, PLAIN)
        for cut in range(len(sealed)):
            self._assert_refused(cipher, sealed[:cut])
            self._assert_refused(cipher, sealed[cut + 1 :])
        for wrong in (sealed + b"\0", b"\0" + sealed, sealed + sealed, sealed[:-1] + b"\0\0"):
            self._assert_refused(cipher, wrong)

    def test_parts_of_two_entries_do_not_fit(self, cipher: Cipher) -> None:
        """The beginning of one entry and the end of another are refused, wherever they are joined."""
        one, other = (cipher.seal(ASSOCIATED, PLAIN) for _ in range(2))
        for cut in range(1, len(one)):
            self._assert_refused(cipher, one[:cut] + other[cut:])

    def test_plain_bytes_do_not_show(self, cipher: Cipher) -> None:
        """No eight bytes of what was sealed, of the key or of the associated bytes are in the result."""
        sealed = cipher.seal(ASSOCIATED, PLAIN)
        for secret in (PLAIN, KEY, ASSOCIATED):
            assert not any(secret[at : at + 8] in sealed for at in range(len(secret) - 7))

    def test_nothing_is_sealed_alike_twice(self, cipher: Cipher) -> None:
        """The same bytes are sealed differently every time, by every instance, and with nonces."""
        other = self._made(KEY)
        sealed = [each.seal(ASSOCIATED, PLAIN) for each in (cipher, other) for _ in range(2000)]
        assert len(set(sealed)) == len(sealed)
        assert len({len(each) for each in sealed}) == 1
        assert len(sealed[0]) >= len(PLAIN) + LEAST_OVERHEAD
        empty = {cipher.seal(ASSOCIATED, b"") for _ in range(2000)}
        assert len(empty) == 2000

    def test_a_forked_child_seals_in_its_own_way(self, cipher: Cipher) -> None:
        """After a fork, parent and child do not go on with the same nonces."""
        if not hasattr(os, "fork"):
            pytest.skip("this platform does not fork")
        cipher.seal(ASSOCIATED, PLAIN)
        children = [_sealed_in_child(cipher) for _ in range(3)]
        mine = [cipher.seal(ASSOCIATED, PLAIN) for _ in range(3)]
        assert len({*children, *mine}) == len(children) + len(mine)
        assert [cipher.open(ASSOCIATED, sealed) for sealed in children] == [PLAIN] * 3

    def test_a_key_of_another_length_is_refused(self) -> None:
        """Anything but 32 bytes raises ValueError, which does not show the key."""
        for size in (0, 1, 16, KEY_SIZE - 1, KEY_SIZE + 1, 2 * KEY_SIZE):
            key = b"canary-" * 20
            with pytest.raises(ValueError, match=r"\S") as caught:
                self._made(key[:size])
            assert "canary" not in str(caught.value)

    def test_no_secret_shows_in_messages(self, cipher: Cipher) -> None:
        """Neither ``repr`` nor a refusal holds key or plain bytes."""
        shown = [repr(cipher), str(cipher), repr(vars(cipher)) if hasattr(cipher, "__dict__") else ""]
        try:
            cipher.open(ASSOCIATED, cipher.seal(ASSOCIATED, PLAIN)[:-1])
        except Exception as error:  # noqa: BLE001 - foreign code refuses in its own way
            shown += [str(error), repr(error)]
        for text in shown:
            assert not any(form in text for form in ("canary", KEY.hex(), repr(KEY)[2:-1]))

    def test_threads_do_not_mix_entries(self, cipher: Cipher) -> None:
        """Eight threads may seal and open at once with one instance."""

        def work(number: int) -> bool:
            plain = number.to_bytes(4, "big") * (number % 500)
            associated = str(number).encode()
            return cipher.open(associated, cipher.seal(associated, plain)) == plain

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(4000)))

    def test_another_instance_reads_it(self, cipher: Cipher) -> None:
        """What one instance sealed another one with the same key opens."""
        assert self._made(bytes(KEY)).open(ASSOCIATED, cipher.seal(ASSOCIATED, PLAIN)) == PLAIN

    def _made(self, key: bytes) -> Cipher:
        return self.info.load()(key)

    @staticmethod
    def _assert_refused(cipher: Cipher, sealed: bytes, associated: bytes = ASSOCIATED) -> None:
        try:
            back = cipher.open(associated, sealed)
        except Exception:  # noqa: BLE001 - foreign code refuses in its own way
            return
        message = f"{len(sealed)} bytes that were never sealed were opened as {back[:40]!r}"
        raise AssertionError(message)


def _flipped(whole: bytes | Sequence[int], bit: int) -> bytes:
    changed = bytearray(whole)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _sealed_in_child(cipher: Cipher) -> bytes:
    """Return what a forked child seals."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writable, cipher.seal(ASSOCIATED, PLAIN))
        finally:
            os._exit(0)
    os.close(writable)
    with open(readable, "rb") as pipe:  # noqa: PTH123 - a descriptor
        sealed = pipe.read()
    os.waitpid(child, 0)
    return sealed
