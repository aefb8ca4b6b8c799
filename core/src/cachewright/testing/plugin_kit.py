"""The kit for a plugin's packaging: found by its entry point, light, typed, and spelt right."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import Distribution, distribution
from importlib.resources import files
from types import ModuleType
from typing import ClassVar

import pytest

from cachewright import hookspecs
from cachewright.catalog import KNOWN_PLUGINS
from cachewright.cipher import CipherInfo
from cachewright.codec import CodecInfo
from cachewright.engine import EngineInfo
from cachewright.hookspecs import PROJECT
from cachewright.keymaker import KeyMakerInfo
from cachewright.serializer import SerializerInfo
from cachewright.testing.kit import Kit
from cachewright.testing.light_import import backends_imported_by

Record = EngineInfo | SerializerInfo | KeyMakerInfo | CodecInfo | CipherInfo

RECORDS: dict[str, type[Record]] = {
    "cachewright_engines": EngineInfo,
    "cachewright_serializers": SerializerInfo,
    "cachewright_keymakers": KeyMakerInfo,
    "cachewright_codecs": CodecInfo,
    "cachewright_ciphers": CipherInfo,
}

NAME = re.compile(r"[a-z][a-z0-9]*([-_.][a-z0-9]+)*")
REQUIREMENT = re.compile(r"cachewright\s*(\[[^]]*\])?\s*\(?(?P<versions>[<>=!~][^;)]*)")


class PluginKit(Kit):
    """What an installed plugin distribution has to look like.

    Example, a whole test file::

        from cachewright.testing import PluginKit

        class TestPackaging(PluginKit):
            distribution = "cachewright-shelf"

    Attributes:
        distribution: name of the installed distribution.
    """

    stakes: ClassVar[str] = "users would not find, trust or install it beside others"

    distribution: ClassVar[str]

    def test_an_entry_point_announces_it(self) -> None:
        """The distribution has an entry point in the group cachewright, and its module imports."""
        assert self._modules(), f"{self.distribution} has no entry point in the group {PROJECT!r}"

    def test_the_plugin_module_is_light(self) -> None:
        """Importing the plugin module and asking it for records imports nothing it requires."""
        for module in self._modules():
            requires = {name for record in _records(module) for name in record.requires}
            assert backends_imported_by(module.__name__, requires) == []

    def test_hooks_are_spelt_right(self) -> None:
        """Every function named cachewright_* is a hook that exists and is marked with hookimpl."""
        known = {name for name in dir(hookspecs) if name.startswith(f"{PROJECT}_")}
        for module in self._modules():
            hooks = [name for name in vars(module) if name.startswith(f"{PROJECT}_")]
            assert set(hooks) <= known, f"{module.__name__}: {sorted(set(hooks) - known)} is no hook"
            assert hooks, f"{module.__name__} implements no hook"
            unmarked = [name for name in hooks if not hasattr(getattr(module, name), f"{PROJECT}_impl")]
            assert unmarked == [], "mark it with hookimpl"

    def test_the_records_are_valid(self) -> None:
        """Hooks return records of their kind, with usable names of their own, whose targets load."""
        names: list[tuple[type[Record], str]] = []
        for module in self._modules():
            for record in _records(module):
                assert NAME.fullmatch(record.name), record.name
                assert record.summary, f"{record.name} has no summary"
                names.append((type(record), record.name))
                _load(record)
        assert len(set(names)) == len(names), "two records of one kind share a name"

    def test_serializer_codes_are_its_own(self) -> None:
        """Serializer codes lie within a byte, differ, and leave this project's range to this project."""
        codes = [
            record.code
            for module in self._modules()
            for record in _records(module)
            if isinstance(record, SerializerInfo)
        ]
        if not codes:
            pytest.skip(f"{self.distribution} announces no serializer")
        assert all(1 <= code <= 255 for code in codes)
        assert len(set(codes)) == len(codes)
        if self.distribution.removeprefix(f"{PROJECT}-") not in {PROJECT, *KNOWN_PLUGINS}:
            assert all(0x40 <= code < 0x80 or code >= 0xC0 for code in codes), codes

    def test_it_is_typed(self) -> None:
        """Each package with a plugin module ships a py.typed file."""
        for module in self._modules():
            package = module.__name__.partition(".")[0]
            assert files(package).joinpath("py.typed").is_file(), f"{package} has no py.typed"

    def test_it_requires_a_version_of_cachewright(self) -> None:
        """The distribution requires cachewright with a lower and an upper bound, and never one version."""
        if self.distribution == PROJECT:
            pytest.skip(f"{PROJECT} does not require itself")
        required = self._metadata().requires or []
        found = [match["versions"] for text in required if (match := REQUIREMENT.match(text))]
        assert found, f"{self.distribution} requires {required}, and no version of {PROJECT}"
        assert any(">=" in versions and "<" in versions.replace(">=", "") for versions in found), found
        assert not any("==" in versions for versions in found), found

    def test_it_says_what_python_it_needs(self) -> None:
        """The metadata holds a summary, a licence and the Python versions it supports."""
        metadata = self._metadata().metadata
        assert metadata["Summary"]
        assert metadata["Requires-Python"]
        assert "License-Expression" in metadata or "License" in metadata

    def test_it_has_a_description(self) -> None:
        """The metadata holds the README, which is what people see before they install it."""
        metadata = self._metadata().read_text("METADATA") or ""
        head, _, body = metadata.replace("\r\n", "\n").partition("\n\n")
        assert body.strip() or "\nDescription: " in head, f"{self.distribution} has no readme"

    def _metadata(self) -> Distribution:
        return distribution(self.distribution)

    def _modules(self) -> list[ModuleType]:
        points = self._metadata().entry_points.select(group=PROJECT)
        return [import_module(point.module) for point in points]


def _records(module: ModuleType) -> list[Record]:
    found: list[Record] = []
    for hook, kind in RECORDS.items():
        function = getattr(module, hook, None)
        if function is None:
            continue
        assert not inspect.signature(function).parameters, f"{hook} takes no arguments"
        returned: Iterable[object] = function()
        for record in returned:
            assert isinstance(record, kind), f"{hook} returned a {type(record).__name__}"
            found.append(record)
    return found


def _load(record: Record) -> None:
    if not isinstance(record, EngineInfo):
        record.load()
        return
    if record.target:
        record.load()
    if record.async_target:
        record.load_async()
