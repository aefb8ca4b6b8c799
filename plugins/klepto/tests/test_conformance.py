"""The klepto engines and key maker keep the promises of every engine and key maker."""

from __future__ import annotations

import pytest
from cachewright_klepto.plugin import (
    KLEPTO,
    KLEPTO_DICT,
    KLEPTO_FILE,
    KLEPTO_HDF,
    KLEPTO_KEYS,
    KLEPTO_SQLTABLE,
)

from cachewright.testing import EngineKit, KeyMakerKit, PluginKit


class TestKlepto(EngineKit):
    info = KLEPTO


@pytest.mark.slow
class TestKleptoFile(EngineKit):
    info = KLEPTO_FILE


@pytest.mark.slow
class TestKleptoSqltable(EngineKit):
    info = KLEPTO_SQLTABLE


@pytest.mark.slow
class TestKleptoHdf(EngineKit):
    info = KLEPTO_HDF


class TestKleptoDict(EngineKit):
    info = KLEPTO_DICT


class TestKleptoKeys(KeyMakerKit):
    info = KLEPTO_KEYS


class TestPackaging(PluginKit):
    distribution = "cachewright-klepto"
