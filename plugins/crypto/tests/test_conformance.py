"""The cipher keeps the promises of every cipher, and its distribution those of every plugin."""

from __future__ import annotations

from cachewright_crypto.plugin import cachewright_ciphers

from cachewright.testing import CipherKit, PluginKit

(INFO,) = cachewright_ciphers()


class TestAesGcm(CipherKit):
    info = INFO


class TestPackaging(PluginKit):
    distribution = "cachewright-crypto"
