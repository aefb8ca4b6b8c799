"""What people may write for a time to live or a size, and what is refused."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright.duration import parse_size, parse_ttl
from cachewright.errors import ConfigurationError


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (90, 90.0),
        (1.5, 1.5),
        ("90", 90.0),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("1.5h", 5400.0),
        ("500ms", 0.5),
        ("2d", 172_800.0),
        ("1w", 604_800.0),
        (" 1w2d3h4m5s6ms ", 604_800 + 172_800 + 10_800 + 240 + 5.006),
        (timedelta(minutes=2, milliseconds=5), 120.005),
    ],
)
def test_ttl_in_seconds(value: object, seconds: float) -> None:
    """Numbers, timedeltas and text with units mean seconds."""
    assert parse_ttl(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [None, math.inf])
def test_ttl_never(value: object) -> None:
    """None and infinity mean that an entry never expires."""
    assert parse_ttl(value) is None


@pytest.mark.parametrize("value", [0, -1, "0", "-5", -0.5, timedelta(seconds=-3), -math.inf])
def test_ttl_that_is_not_positive_comes_back(value: object) -> None:
    """A ttl of 0 or less is allowed and stays what it is: do not store."""
    seconds = parse_ttl(value)
    assert seconds is not None
    assert seconds <= 0


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        math.nan,
        "",
        " ",
        "nan",
        "inf",
        "10 parsecs",
        "m",
        "30m1h",
        "1h1h",
        "10M",
        "1e3",
        "\uff11m",
        "1,5h",
        "--5",
        "9" * 400,
        10**400,
        b"10",
        [1],
        {},
        object(),
        1j,
    ],
)
def test_ttl_nonsense(value: object) -> None:
    """Anything else is refused with an error that names setting and origin."""
    with pytest.raises(
        ConfigurationError, match=r"^lifetime=.*\(from here\) is not usable: expected None"
    ) as e:
        parse_ttl(value, setting="lifetime", origin="here")
    assert (e.value.setting, e.value.value, e.value.origin) == ("lifetime", value, "here")


def test_numpy_integers_are_numbers() -> None:
    """A numpy integer is a number of seconds or bytes; a numpy boolean is not."""
    numpy = pytest.importorskip("numpy")
    assert parse_ttl(numpy.int64(3)) == 3.0
    assert parse_size(numpy.int64(3)) == 3
    with pytest.raises(ConfigurationError):
        parse_ttl(numpy.bool_(True))


@given(st.text(max_size=12) | st.integers() | st.floats() | st.timedeltas())
def test_ttl_is_parsed_or_refused(value: object) -> None:
    """Any input gives a number that is not NaN, never, or a ConfigurationError."""
    try:
        seconds = parse_ttl(value)
    except ConfigurationError:
        return
    assert seconds is None or (not math.isnan(seconds) and seconds != math.inf)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (0, 0),
        (5, 5),
        (2e9, 2_000_000_000),
        ("10_000", 10_000),
        ("7B", 7),
        ("12 kB", 12_000),
        ("512MB", 512_000_000),
        ("512mb", 512_000_000),
        ("2GiB", 2_147_483_648),
        ("1.5KiB", 1536),
        ("1TB", 10**12),
        ("1TiB", 2**40),
    ],
)
def test_size_in_bytes(value: object, size: int) -> None:
    """Decimal units are powers of 1000, binary units powers of 1024."""
    assert parse_size(value) == size
    assert type(parse_size(value)) is int


@pytest.mark.parametrize(
    "value",
    [True, None, -1, "-1", 1.5, math.nan, math.inf, "", "MB", "1M", "1 parsec", "1,5MB", "9" * 50, b"1", [1]],
)
def test_size_nonsense(value: object) -> None:
    """Negative, fractional, ambiguous and meaningless sizes are refused."""
    with pytest.raises(ConfigurationError, match=r"^max_bytes="):
        parse_size(value)


def test_import_stays_light() -> None:
    """A number is parsed without importing datetime."""
    code = (
        "import sys; from cachewright.duration import parse_ttl as p; p(5); print('datetime' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
