"""Counters that need no lock, and the snapshots made from them."""

from __future__ import annotations

import copy
import functools
import pickle
import threading

import pytest

from cachewright.stats import CacheInfo, Counters, Tally

PATIENCE = 30.0


class TestTally:
    """Exact, from any number of threads."""

    def test_it_counts_from_zero(self):
        """Advanced by ``add`` or by a loop over its source that breaks at once."""
        tally = Tally()
        assert tally.count == 0
        tally.add()
        for _ in tally.source:
            break
        assert tally.count == 2

    def test_eight_threads_lose_nothing(self):
        """Both ways of counting, at once."""
        tally, start = Tally(), threading.Barrier(8)

        def count(number):
            start.wait(PATIENCE)
            for _ in range(20_000):
                if number % 2:
                    tally.add()
                else:
                    for _ in tally.source:
                        break

        threads = [threading.Thread(target=count, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert tally.count == 160_000

    def test_a_reset_while_others_count_loses_nothing_that_comes_later(self):
        """Counts never go below zero, and what is counted after the last reset is there."""
        tally, stop, seen = Tally(), threading.Event(), []

        def count():
            while not stop.is_set():
                tally.add()

        def watch():
            while not stop.is_set():
                seen.append(tally.count)

        threads = [threading.Thread(target=work) for work in (count, count, watch)]
        for thread in threads:
            thread.start()
        for _ in range(2000):
            tally.reset()
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert min(seen, default=0) >= 0
        tally.reset()
        tally.add()
        assert tally.count == 1

    def test_the_source_survives_a_reset(self):
        """Generated hit paths hold on to it."""
        tally = Tally()
        source = tally.source
        tally.add()
        tally.reset()
        assert tally.source is source
        next(source)
        assert tally.count == 1


class TestCounters:
    """What a cache counts."""

    def test_every_counter_has_a_tally_of_its_own_and_is_reset(self):
        """None is forgotten."""
        counters = Counters()
        for number, name in enumerate(Counters.__slots__, 1):
            for _ in range(number):
                getattr(counters, name).add()
        assert [getattr(counters, name).count for name in Counters.__slots__] == list(range(1, 11))
        counters.reset()
        assert not any(getattr(counters, name).count for name in Counters.__slots__)

    def test_a_snapshot_holds_all_of_them(self):
        """Hits are look-ups that were no misses."""
        counters = Counters()
        for name, times in {"calls": 10, "misses": 3, "loads": 2, "coalesced": 1, "stored": 4, "refused": 5,
                            "unreadable": 6, "errors": 7, "stale": 8, "refreshes": 9}.items():  # fmt: skip
            for _ in range(times):
                getattr(counters, name).add()
        info = counters.snapshot(maxsize=8, currsize=2)
        assert tuple(info) == (7, 3, 8, 2)
        assert (info.loads, info.coalesced, info.stored, info.refused) == (2, 1, 4, 5)
        assert (info.unreadable, info.errors, info.stale, info.refreshes) == (6, 7, 8, 9)
        assert (info.engine_open, info.pending) == (False, 0)

    def test_hits_never_come_out_negative(self):
        """A refresh or a reset between the two counts may leave more misses than calls."""
        counters = Counters()
        counters.misses.add()
        assert counters.snapshot(maxsize=None, currsize=0).hits == 0


@functools.lru_cache(maxsize=8)
def remembered(x):
    return x


class TestCacheInfo:
    """functools' tuple, and more beside it."""

    @pytest.fixture
    def info(self):
        info = CacheInfo(3, 1, 8, 1)
        info.loads, info.errors = 5, 2
        return info

    def test_it_unpacks_and_compares_like_that_of_functools(self, info):
        """Also in a match statement."""
        remembered.cache_clear()
        for x in (1, 1, 1, 1):
            remembered(x)
        assert info == remembered.cache_info() == (3, 1, 8, 1)
        assert hash(info) == hash(remembered.cache_info())
        hits, misses, maxsize, currsize = info
        assert (hits, misses, maxsize, currsize) == (3, 1, 8, 1)
        assert info._fields == remembered.cache_info()._fields
        assert repr(info) == repr(remembered.cache_info())
        match info:
            case CacheInfo(h, m):
                assert (h, m) == (3, 1)

    def test_further_attributes_take_no_part_in_comparison(self, info):
        """Two snapshots with the same four fields are equal."""
        assert info == CacheInfo(3, 1, 8, 1)

    @pytest.mark.parametrize(
        "same",
        [copy.copy, copy.deepcopy, lambda info: info._replace(), *(
            lambda info, protocol=protocol: pickle.loads(pickle.dumps(info, protocol))
            for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
        )],
    )  # fmt: skip
    def test_copies_keep_everything(self, info, same):
        """Pickled, copied or with a field replaced."""
        made = same(info)
        assert made == info
        assert type(made) is CacheInfo
        assert (made.loads, made.errors, made.stored) == (5, 2, 0)

    def test_a_replaced_field_changes_the_copy_alone(self, info):
        """Unknown fields are refused, as by every named tuple."""
        made = info._replace(hits=9)
        assert (made.hits, info.hits, made.loads) == (9, 3, 5)
        with pytest.raises((ValueError, TypeError)):
            info._replace(loads=1)

    def test_the_hit_ratio_is_a_share_of_look_ups(self, info):
        """Zero before the first."""
        assert info.hit_ratio == 0.75
        assert CacheInfo(0, 0, None, 0).hit_ratio == 0.0
