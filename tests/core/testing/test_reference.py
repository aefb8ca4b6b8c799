"""The kit passes engines that keep every promise."""

from __future__ import annotations

from cachewright.testing import AsyncEngineKit, EngineKit
from cachewright.testing.reference import DICT, FOLDER


class TestDictEngine(EngineKit):
    info = DICT


class TestAsyncDictEngine(AsyncEngineKit):
    info = DICT


class TestFolderEngine(EngineKit):
    info = FOLDER
