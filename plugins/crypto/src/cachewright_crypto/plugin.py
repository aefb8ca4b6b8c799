"""The record that announces the cipher, without importing cryptography."""

from __future__ import annotations

from cachewright.cipher import CipherInfo
from cachewright.hookspecs import hookimpl


@hookimpl
def cachewright_ciphers() -> list[CipherInfo]:
    """The cipher that ``encrypt=True`` means."""
    return [
        CipherInfo(
            name="aes-gcm",
            code=0x03,
            target="cachewright_crypto.cipher:AesGcmCipher",
            requires=("cryptography",),
            install="cachewright-crypto",
            summary="AES-256-GCM with a key of its own for every entry (XAES-256-GCM)",
        )
    ]
