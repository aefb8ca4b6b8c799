"""Explanations in words and figures."""

from __future__ import annotations

import math

import pytest

from cachewright import open_cache
from cachewright.explanation import Explanation, duration_text, ranking_lines
from cachewright.inventory import EntryInfo
from cachewright.selector import Ranking


def entry(**more):
    return EntryInfo(key="k", digest="ff", engine="memory", **more)


GOOD = Ranking(
    engine="memory",
    score=1e-7,
    estimated_get=8e-8,
    estimated_set=1.5e-6,
    reasons=("near", "simple"),
    against=("small",),
)
BAD = Ranking(
    engine="sqlite", score=math.inf, estimated_get=math.inf, estimated_set=math.inf, rejected="too slow"
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ns"),
        (8e-8, "80 ns"),
        (9.99e-7, "999 ns"),
        (9.996e-7, "1 us"),
        (1e-6, "1 us"),
        (1.5e-6, "1.5 us"),
        (0.0009996, "1 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (1, "1 s"),
        (90, "90 s"),
        (299, "299 s"),
        (600, "10 min"),
        (3600, "60 min"),
        (7200, "2 h"),
        (86_400, "24 h"),
        (604_800, "7 days"),
        (math.inf, "inf s"),
        (math.nan, "nan s"),
    ],
)
def test_a_duration_is_written_in_the_unit_that_reads_best(seconds, text):
    """Three digits, and never an exponent."""
    assert duration_text(seconds) == text


@pytest.mark.parametrize("power", range(-9, 8))
def test_no_duration_needs_an_exponent(power):
    """From a nanosecond to months."""
    for digits in (1.0, 2.5, 9.99, 9.999, 9.9999):
        assert "e" not in duration_text(digits * 10.0**power).split()[0]


class TestRankingLines:
    """Best first, rejected ones last."""

    def test_figures_reasons_and_what_speaks_against(self):
        """One line for each engine."""
        first, second = ranking_lines([GOOD, BAD])
        assert first == " 1. memory       get 80 ns, set 1.5 us; near; simple; small"
        assert second == " -  sqlite       rejected: too slow"

    def test_no_engine_gives_no_line(self):
        """Nothing to say."""
        assert ranking_lines(()) == []


class TestText:
    """``str()`` of an explanation."""

    def test_it_starts_with_the_cache_and_why(self):
        """Without more facts there are no more lines."""
        text = str(Explanation(namespace="a", engine="memory", why="asked for by name"))
        assert text == "cache 'a' on engine 'memory'\n  why: asked for by name"

    def test_it_tells_everything_that_is_known(self):
        """Storage, notes, key, entry and ranking, in this order."""
        explanation = Explanation(
            namespace="a",
            engine="memory",
            why="best",
            rankings=(GOOD, BAD),
            storage="objects",
            digest="ff",
            entry=entry(size=10, serializer="raw", expires=90.0, compute_seconds=0.5),
            notes=("one", "two"),
        )
        assert str(explanation).splitlines() == [
            "cache 'a' on engine 'memory'",
            "  why: best",
            "  storage: objects",
            "  note: one",
            "  note: two",
            "  key: ff",
            "  entry: 10 bytes by serializer 'raw', expires in 90 s, took 500 ms to compute",
            "  ranking:",
            "     1. memory       get 80 ns, set 1.5 us; near; simple; small",
            "     -  sqlite       rejected: too slow",
        ]

    @pytest.mark.parametrize(
        ("known", "words"),
        [(None, "not stored"), (entry(), "never expires"), (entry(expires=0.0), "expires in 0 ns")],
    )
    def test_an_entry_is_described_or_said_to_be_absent(self, known, words):
        """A miss is a fact as well."""
        assert f"  entry: {words}" in str(
            Explanation(namespace="a", engine="memory", why="best", digest="ff", entry=known)
        )

    def test_an_open_cache_explains_itself(self):
        """Why this engine, and what is stored under a key."""
        with open_cache("explained", engine="memory") as cache:
            assert cache.explain().digest == ""
            assert cache.explain("k").entry is None
            cache.set("k", 1, ttl=60)
            explained = cache.explain("k")
        assert explained.why == "asked for by name"
        assert explained.entry is not None
        assert explained.entry.expires == pytest.approx(60, abs=5)
        assert explained.rankings[0].rejected is None
