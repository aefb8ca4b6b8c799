"""The codecs keep the promises of every codec, and their distribution those of every plugin."""

from __future__ import annotations

import pytest
from cachewright_compress.plugin import cachewright_codecs

from cachewright.testing import CodecKit, PluginKit

CODECS = {info.name: info for info in cachewright_codecs()}


class TestZstd(CodecKit):
    info = CODECS["zstd"]


class TestLz4(CodecKit):
    info = CODECS["lz4"]


class TestShuffle(CodecKit):
    info = CODECS["zstd-shuffle"]


class TestBlosc2(CodecKit):
    info = CODECS["blosc2"]

    @pytest.fixture(autouse=True)
    def library(self) -> None:
        pytest.importorskip("blosc2", reason="blosc2, an extra of this plugin, is not installed")


class TestPackaging(PluginKit):
    distribution = "cachewright-compress"
