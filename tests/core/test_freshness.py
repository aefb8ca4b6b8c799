"""Freshness: when a value is served, refreshed behind its callers, or gone."""

from __future__ import annotations

import dataclasses
import math
import pickle
import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright.errors import ConfigurationError
from cachewright.freshness import STRICT, Age, Freshness

FRESH, EARLY, STALE, GRACE, GONE = Age

DURATIONS = ("ttl", "stale_ttl", "error_ttl", "soft_timeout", "hard_timeout", "backoff")


class TestChecks:
    """What makes no sense is refused where it is written."""

    @pytest.mark.parametrize(
        ("given", "seconds"),
        [(5, 5.0), ("10m", 600.0), (timedelta(hours=1), 3600.0), (0, 0.0), (math.inf, math.inf)],
    )
    @pytest.mark.parametrize("name", DURATIONS)
    def test_durations_are_seconds_whatever_they_were(self, name, given, seconds):
        """Also infinity, which means without an end."""
        more = {"error_ttl": 1} if name == "soft_timeout" else {}
        made = Freshness(**{name: given}, **more)
        assert getattr(made, name) == seconds
        assert type(getattr(made, name)) is float

    @pytest.mark.parametrize(
        "given",
        [-1, -0.001, math.nan, -math.inf, "soon", True, b"1", [], {}, timedelta(seconds=-1), object()],
    )
    @pytest.mark.parametrize("name", DURATIONS)
    def test_what_is_no_duration_is_refused(self, name, given):
        """With the name of the setting."""
        with pytest.raises(ConfigurationError, match=f"{name}="):
            Freshness(**{name: given})

    @pytest.mark.parametrize("name", ["stale_ttl", "error_ttl", "backoff"])
    def test_a_window_is_a_duration_and_not_none(self, name):
        """None is not nothing."""
        with pytest.raises(ConfigurationError, match=f"{name}=None"):
            Freshness(**{name: None})

    @pytest.mark.parametrize(
        ("name", "given"),
        [
            *(("refresh_at", value) for value in (0, 1, -0.1, 1.1, math.nan, math.inf, "0.5", True, [], ())),
            *(("early", value) for value in ("", "XFETCH", True, 0, [], {}, b"xfetch")),
            *(("beta", value) for value in (0, -1, math.nan, math.inf, True, "1", None)),
            *(("on_error", value) for value in (
                None, "x", 5, (), (int,), BaseException, KeyboardInterrupt, (ValueError, int), [ValueError],
                ((ValueError,),), ValueError("x"),
            )),
        ],
    )  # fmt: skip
    def test_nonsense_is_one_configuration_error(self, name, given):
        """Nothing else is raised, also for what has no hash and no order."""
        with pytest.raises(ConfigurationError, match=f"{name}="):
            Freshness(**{name: given})

    def test_two_refresh_points_exclude_each_other(self):
        """One of them decides when."""
        with pytest.raises(ConfigurationError, match=r"refresh_at=0\.5"):
            Freshness(refresh_at=0.5, early="xfetch")

    def test_a_soft_timeout_needs_an_old_value(self):
        """Which only error_ttl keeps."""
        with pytest.raises(ConfigurationError, match=r"soft_timeout=1\.0.*error_ttl"):
            Freshness(soft_timeout=1, stale_ttl=5)

    def test_it_is_a_value(self):
        """Compared, pickled, hashed and replaced as one."""
        made = Freshness(ttl="10m", stale_ttl="1h", error_ttl=math.inf, refresh_at=0.8)
        assert made == Freshness(ttl=600, stale_ttl=3600, error_ttl=math.inf, refresh_at=0.8)
        assert pickle.loads(pickle.dumps(made)) == made
        assert hash(made) == hash(dataclasses.replace(made))
        assert dataclasses.replace(made, refresh_at=None, early="xfetch").error_ttl == math.inf
        with pytest.raises(dataclasses.FrozenInstanceError):
            made.ttl = 5

    @pytest.mark.parametrize(
        ("made", "kept", "bounded"),
        [
            (STRICT, 0.0, False),
            (Freshness(stale_ttl=5), 5.0, False),
            (Freshness(stale_ttl=5, error_ttl=7, hard_timeout=1), 7.0, True),
            (Freshness(stale_ttl=math.inf, error_ttl=7, soft_timeout=0), math.inf, True),
        ],
    )
    def test_what_follows_from_the_windows(self, made, kept, bounded):
        """How long a value is kept, and whether callers may stop waiting."""
        assert (made.kept, made.bounded) == (kept, bounded)


BOTH = Freshness(stale_ttl=10, error_ttl=30)
NESTED = Freshness(stale_ttl=30, error_ttl=10)


class TestAge:
    """The table of the module, at both sides of every boundary."""

    @pytest.mark.parametrize(
        ("made", "until", "ages"),
        [
            # ttl over at 100, refresh point at 80
            (BOTH, 130, {0: FRESH, 79.9: FRESH, 80: EARLY, 99.9: EARLY, 100: STALE, 109.9: STALE, 110: GRACE,
                         129.9: GRACE, 130: GONE, 1e9: GONE}),
            (NESTED, 130, {100: STALE, 110: STALE, 129.9: STALE, 130: GONE}),
            (STRICT, 100, {80: EARLY, 99.9: EARLY, 100: GONE}),
            (STRICT, 130, {99.9: EARLY, 100: GONE, 120: GONE}),
            (Freshness(stale_ttl=10), 110, {99.9: EARLY, 100: STALE, 109.9: STALE, 110: GONE}),
            (Freshness(error_ttl=10), 110, {99.9: EARLY, 100: GRACE, 109.9: GRACE, 110: GONE}),
            # kept for less, or longer, than the windows of who asks
            (BOTH, 105, {100: STALE, 104.9: STALE, 105: GONE, 109: GONE}),
            (BOTH, 500, {129.9: GRACE, 130: GONE}),
            # without an end
            (Freshness(stale_ttl=math.inf), math.inf, {100: STALE, 1e300: STALE}),
            (Freshness(stale_ttl=5, error_ttl=math.inf), math.inf, {104: STALE, 105: GRACE, 1e300: GRACE}),
        ],
    )  # fmt: skip
    def test_every_zone_begins_where_the_one_before_ends(self, made, until, ages):
        """From the refresh point, the ttl and each window on, inclusively."""
        assert {now: made.age(now, 80, 100, until) for now in ages} == ages

    @pytest.mark.parametrize("made", [STRICT, BOTH, Freshness(early="xfetch"), Freshness(refresh_at=0.5)])
    @pytest.mark.parametrize("now", [-1e9, 0.0, 1e300])
    def test_without_a_ttl_a_value_is_fresh_for_ever(self, made, now):
        """Whatever its windows."""
        due = made.due(0.0, math.inf, 5.0)
        assert due == math.inf
        assert made.age(now, due, math.inf, math.inf) is FRESH

    def test_a_refresh_point_beyond_the_ttl_makes_nothing_younger(self):
        """Nor does one before the beginning make it older than its ttl."""
        assert BOTH.age(99, 500, 100, 130) is FRESH
        assert BOTH.age(100, 500, 100, 130) is STALE
        assert BOTH.age(0, -math.inf, 100, 130) is EARLY

    @given(
        st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6),
        st.lists(st.floats(0, 1e7), max_size=20),
    )  # fmt: skip
    def test_nothing_becomes_younger(self, due, soft, stale, error, kept, moments):
        """For any windows and any moments; and nothing is served after it was kept."""
        made = Freshness(stale_ttl=stale, error_ttl=error)
        order, until = list(Age), soft + kept
        ages = [order.index(made.age(now, due, soft, until)) for now in sorted(moments)]
        assert ages == sorted(ages)
        assert made.age(until, due, soft, until) is GONE
        assert made.age(soft + max(stale, error), due, soft, math.inf) is GONE


class TestRefreshPoint:
    """When a value is refreshed before its ttl is over."""

    def test_without_a_rule_it_is_the_end(self):
        """Nothing is refreshed early."""
        assert BOTH.due(100.0, 200.0, 50.0) == 200.0

    @pytest.mark.parametrize(("share", "due"), [(0.8, 180.0), (0.001, 100.1), (0.999, 199.9)])
    def test_a_share_of_the_ttl(self, share, due):
        """Counted from when it was stored, whatever computing took."""
        assert Freshness(refresh_at=share).due(100.0, 200.0, 1e9) == pytest.approx(due)

    @pytest.mark.parametrize(("seconds", "beta"), [(1.0, 1.0), (0.1, 1.0), (4.0, 0.5), (2.0, 3.0)])
    def test_xfetch_is_distributed_as_in_the_paper(self, monkeypatch, seconds, beta):
        """P(refreshed g before the end) = exp(-g / (seconds * beta)), at 20,000 draws."""
        monkeypatch.setattr(random, "random", random.Random(20150831).random)
        made = Freshness(early="xfetch", beta=beta)
        gaps = [1000.0 - made.due(0.0, 1000.0, seconds) for _ in range(20_000)]
        assert min(gaps) >= 0.0
        scale = seconds * beta
        for quantile in (0.1, 0.5, 1.0, 2.0, 3.0):
            share = sum(gap >= quantile * scale for gap in gaps) / len(gaps)
            expected = math.exp(-quantile)
            # five standard deviations of a binomial share
            assert share == pytest.approx(expected, abs=5 * math.sqrt(expected * (1 - expected) / len(gaps)))
        assert sum(gaps) / len(gaps) == pytest.approx(scale, rel=0.05)

    @pytest.mark.parametrize("drawn", [0.0, 0.5, 1.0 - 2**-53])
    def test_the_extreme_draws_are_numbers(self, monkeypatch, drawn):
        """No logarithm of zero, and never after the end."""
        monkeypatch.setattr(random, "random", lambda: drawn)
        due = Freshness(early="xfetch").due(0.0, 100.0, 1.0)
        assert 100.0 - 37 < due <= 100.0

    def test_what_took_no_time_is_not_refreshed_early(self):
        """There is no stampede to prevent."""
        assert Freshness(early="xfetch").due(0.0, 100.0, 0.0) == 100.0


class TestForgiveness:
    """Which failures an old value may stand in for."""

    @pytest.mark.parametrize(
        ("on_error", "error", "forgiven"),
        [
            (Exception, ValueError(), True),
            (LookupError, KeyError(), True),
            (LookupError, ValueError(), False),
            ((LookupError, OSError), TimeoutError(), True),
            ((LookupError, OSError), ValueError(), False),
            (lambda error: "again" in str(error), ValueError("try again"), True),
            (lambda error: "again" in str(error), ValueError("never"), False),
            (lambda error: [], ValueError(), False),
            (lambda error: [1], ValueError(), True),
        ],
    )
    def test_by_class_or_by_what_a_predicate_says(self, on_error, error, forgiven):
        """Its truth counts."""
        assert Freshness(on_error=on_error).forgives(error) is forgiven

    @pytest.mark.parametrize(
        "error", [KeyboardInterrupt(), SystemExit(), GeneratorExit(), BaseException()], ids=repr
    )
    def test_interruptions_are_never_forgiven(self, error):
        """A predicate is not even asked."""
        asked = []
        assert not Freshness(on_error=asked.append).forgives(error)
        assert not Freshness().forgives(error)
        assert not asked
