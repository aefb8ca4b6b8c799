"""The kit fails everything that is deliberately wrong, by the test that is meant to notice it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cachewright.testing import (
    AsyncEngineKit,
    CipherKit,
    CodecKit,
    EngineKit,
    KeyMakerKit,
    SerializerKit,
)
from cachewright.testing.mutants import KILLED_BY, mutants
from cachewright.testing.wrong_ciphers import WRONG_CIPHERS, WRONG_CODECS
from cachewright.testing.wrong_codecs import WRONG_KEY_MAKERS, WRONG_SERIALIZERS

CASES = """
from cachewright.engine import EngineConfig
from cachewright.testing import (
    AsyncEngineKit, CipherKit, CodecKit, EngineKit, KeyMakerKit, SerializerKit
)
from cachewright.testing.mutants import mutants
from cachewright.testing.wrong_ciphers import wrong_cipher_infos, wrong_codec_infos
from cachewright.testing.wrong_codecs import wrong_key_maker_infos, wrong_serializer_infos

NOBODY = EngineConfig(url="reference://127.0.0.1:1/", timeout=0.1)


def define(kit, info, target, **attributes):
    name = "Test" + target.partition(":")[2]
    globals()[name] = type(name, (kit,), {"info": info, "__module__": __name__, **attributes})


for mutant in mutants():
    info = mutant.info
    if mutant.asynchronous:
        define(AsyncEngineKit, info, info.async_target)
    elif mutant.asks_server:
        define(EngineKit, info, info.target, unreachable_config=lambda self, path: NOBODY)
    else:
        define(EngineKit, info, info.target)
for info in wrong_serializer_infos():
    define(SerializerKit, info, info.target, accepts=({"a": [1, "b"]}, [None]))
for info in wrong_key_maker_infos():
    define(KeyMakerKit, info, info.target)
for info in wrong_codec_infos():
    define(CodecKit, info, info.target)
for info in wrong_cipher_infos():
    define(CipherKit, info, info.target)
"""

WRONG: dict[type, str] = {
    **KILLED_BY, **WRONG_SERIALIZERS, **WRONG_KEY_MAKERS, **WRONG_CODECS, **WRONG_CIPHERS
}  # fmt: skip


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Outcomes by class of mutant: the killing tests of all of them, run in one process."""
    folder = tmp_path_factory.mktemp("mutants")
    (folder / "test_cases.py").write_text(CASES)
    nodes = [f"test_cases.py::Test{wrong.__name__}::{test}" for wrong, test in WRONG.items()]
    options = ["-q", "--tb=no", "-p", "no:cacheprovider", "--junitxml=verdicts.xml", "--rootdir=."]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *nodes],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    return _outcomes(folder / "verdicts.xml")


@pytest.mark.parametrize("wrong", [kind.__name__ for kind in WRONG])
def test_the_kit_notices(wrong: str, verdicts: dict[str, set[str]]) -> None:
    """The named test fails on the wrong plugin, in one of its cases at least."""
    assert "failure" in verdicts[wrong]


def test_each_mistake_is_meant_for_a_test_that_exists() -> None:
    """A renamed test takes its mutants along."""
    for mutant in mutants():
        kit = AsyncEngineKit if mutant.asynchronous else EngineKit
        assert mutant.killed_by in kit.names_of_tests()
    assert set(WRONG_SERIALIZERS.values()) <= set(SerializerKit.names_of_tests())
    assert set(WRONG_KEY_MAKERS.values()) <= set(KeyMakerKit.names_of_tests())
    assert set(WRONG_CODECS.values()) <= set(CodecKit.names_of_tests())
    assert set(WRONG_CIPHERS.values()) <= set(CipherKit.names_of_tests())


def _outcomes(report: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for case in ET.parse(report).iter("testcase"):
        name = case.get("classname", "").rpartition(".Test")[2]
        found.setdefault(name, set()).update({child.tag for child in case} or {"passed"})
    return found
