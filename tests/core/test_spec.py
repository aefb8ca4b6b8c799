"""What a caller asks for is checked when it is written."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachewright._spec import DEFAULT_MAXSIZE, Spec
from cachewright.errors import ConfigurationError


def spec(**choices):
    return Spec(**{"namespace": "n", **choices})


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("scope", value) for value in ("planet", "", None, 1, ["host"], True)),
        *(("on_engine_error", value) for value in ("ignore", None, True)),
        *(("copy", value) for value in ("deep", True, False, 0, "")),
        *(
            (name, value)
            for name in ("engine", "policy", "serializer", "url", "key_maker")
            for value in ("", 1, b"x", True)
        ),
        *(("name", value) for value in ("", None, 1, b"x")),
        *(("persist", value) for value in ("no", "false", 0, 1, None)),
        *(("maxsize", value) for value in (-1, 1.5, "10", True, math.inf)),
        *(("max_bytes", value) for value in (-1, "many", 1.5, True, "1M")),
        *(("jitter", value) for value in (-0.1, 1, 1.5, math.nan, "0.1", True, None)),
        *(("ttl", value) for value in (math.nan, "soon", True, b"1", [], {})),
        *(("path", value) for value in ("", 1, b"x", True)),
        *(("options", value) for value in ("abc", 5, ["a"], [("a", 1)], {1: 2}, {b"a": 1})),
        *(("settings", value) for value in ("x", {}, {"dir": "/tmp"}, 1)),
    ],
)
def test_nonsense_is_one_clear_error_that_names_the_setting(setting, value):
    """Whatever its type; the value is shown."""
    with pytest.raises(ConfigurationError, match=rf"^{setting}=") as caught:
        spec(**{"namespace" if setting == "name" else setting: value})
    assert caught.value.setting == setting
    assert caught.value.value is value


@pytest.mark.parametrize(
    ("setting", "value", "kept"),
    [
        ("ttl", None, None),
        ("ttl", "10m", 600.0),
        ("ttl", timedelta(hours=1), 3600.0),
        ("ttl", 0, 0.0),
        ("ttl", -1, -1.0),
        ("ttl", math.inf, None),
        ("maxsize", 0, 0),
        ("maxsize", None, None),
        ("max_bytes", "2GB", 2_000_000_000),
        ("max_bytes", 0, 0),
        ("jitter", 0, 0.0),
        ("jitter", 0.999, 0.999),
        ("options", None, {}),
        ("options", {"a": 1}, {"a": 1}),
        ("policy", "lru", "lru"),
        ("copy", "value", "value"),
    ],
)
def test_what_makes_sense_is_kept_in_its_simplest_form(setting, value, kept):
    """Seconds, bytes, numbers."""
    assert getattr(spec(**{setting: value}), setting) == kept


def test_a_ttl_function_is_kept_for_later():
    """It is asked for each result."""
    assert spec(ttl=len).ttl is len


def test_options_are_copied():
    """What the caller does with the mapping afterwards changes nothing."""
    options = {"a": 1}
    kept = spec(options=options).options
    options["a"] = 2
    assert kept == {"a": 1}


@pytest.mark.parametrize(
    ("choices", "scope", "persist"),
    [
        ({}, "process", False),
        ({"url": "redis://h"}, "network", False),
        ({"url": "redis://h", "engine": "redis"}, "process", False),
        ({"url": "redis://h", "scope": "host"}, "host", False),
        ({"path": "x"}, "process", True),
        ({"path": Path("x")}, "process", True),
        ({"path": "x", "engine": "sqlite"}, "process", False),
        ({"persist": True}, "process", True),
    ],
)
def test_an_address_means_the_network_and_a_directory_means_to_persist(choices, scope, persist):
    """Unless an engine was named, which knows what to do with them."""
    made = spec(**choices)
    assert (made.scope, made.persist) == (scope, persist)
    assert made.private_to_process is (scope == "process" and not persist)


def test_the_default_bound_is_told_apart_from_the_same_number():
    """A bound that was asked for has to be kept."""
    assert spec(maxsize=DEFAULT_MAXSIZE).maxsize is DEFAULT_MAXSIZE
    assert spec(maxsize=1024).maxsize is not DEFAULT_MAXSIZE
    assert DEFAULT_MAXSIZE == 1024


def test_entries_that_have_to_be_judged_are_asked_for():
    """By those who decorate functions, never by whoever opens a cache."""
    assert spec().aged is False
    assert spec(aged=True).aged is True


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine decides nothing
@given(
    choices=st.dictionaries(
        st.sampled_from(
            [
                "engine",
                "persist",
                "scope",
                "ttl",
                "maxsize",
                "max_bytes",
                "policy",
                "serializer",
                "copy",
                "jitter",
                "on_engine_error",
                "url",
                "path",
                "options",
                "settings",
                "key_maker",
            ]
        ),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.binary(max_size=3)
        | st.lists(st.integers(), max_size=2)
        | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
        max_size=4,
    )
)
def test_any_input_makes_a_specification_or_one_configuration_error(choices):
    """Nothing else is ever raised."""
    try:
        made = spec(**choices)
    except ConfigurationError as error:
        assert re.match(r"(name|" + "|".join(choices) + ")=", str(error))
    else:
        assert made.namespace == "n"
