"""Processes that share a store compute a value once, whatever becomes of the one that does."""

from __future__ import annotations

import signal
import time

import pytest

LEASE = 1.0
"""Seconds; what waits for a lease is judged with a margin."""


@pytest.mark.parametrize("way", ["load", "fetch"])
def test_one_call_for_all(company, way):
    """Whoever asks while one process computes gets what it computes."""
    leader, *others = company.peers(3, held=True)
    company.write("k", "old")
    first = leader.start(way, "k")
    leader.began("k")
    rest = [peer.start(way, "k") for peer in (leader, *others) for _ in range(3)]
    leader.do("release", "k")
    assert [answer.result(60) for answer in (first, *rest)] == ["old"] * 10
    assert company.calls("k") == [leader.process.pid]


def test_exactly_one_call_per_key_in_a_stampede(company):
    """Four processes of eight threads or event loops, three rounds of keys that nobody has yet."""
    peers = company.peers(4, seconds=0.05)
    for key in ("a", "b", "c"):
        company.write(key, f"value of {key}")
        answers = [peer.start("many", key, 8, 4) for peer in peers]
        assert [answer.result(60) for answer in answers] == [[f"value of {key}"] * 32] * 4
        assert len(company.calls(key)) == 1


def test_a_leader_that_raises(company):
    """Its exception reaches its own process; the others compute, one after the other."""
    leader, *others = company.peers(3, held=True)
    company.write("k", "!no")
    first = leader.start("load", "k")
    leader.began("k")
    rest = [peer.start("load", "k") for peer in others]
    company.write("k", "yes")
    for peer in others:
        peer.do("release", "k")
    leader.do("release", "k")
    with pytest.raises(RuntimeError, match="LookupError: !no"):
        first.result(60)
    assert [answer.result(60) for answer in rest] == ["yes", "yes"]
    assert len(company.calls("k")) == 2


def test_exceptions_are_not_shared_among_processes(company):
    """Where all of them raise, each process calls once, and nothing is left behind."""
    peers = company.peers(3, seconds=0.02)
    company.write("k", "!no")
    answers = [peer.start("load", "k") for peer in peers]
    for answer in answers:
        with pytest.raises(RuntimeError, match="LookupError: !no"):
            answer.result(60)
    assert sorted(company.calls("k")) == sorted(peer.process.pid for peer in peers)
    company.write("k", "yes")
    assert peers[0].do("load", "k") == "yes"


def test_a_cancelled_caller_does_not_end_the_work(company_of, engine):
    """A task that started a computation may be cancelled; everybody else gets the result."""
    company = company_of(engine, "async")
    leader, other = company.peers(2, held=True)
    company.write("k", "old")
    first = leader.start("load", "k")
    leader.began("k")
    second = other.start("load", "k")
    leader.start("cancel", first.number)
    with pytest.raises(RuntimeError, match="Cancelled"):
        first.result(60)
    leader.do("release", "k")
    assert second.result(60) == "old"
    assert company.calls("k") == [leader.process.pid]


def test_a_killed_leader_is_replaced_at_once_on_its_host(company):
    """Long before its lease is over, by one of those who wait."""
    leader, *others = company.peers(3, held=True, lease=1000)
    company.write("k", "old")
    leader.start("load", "k")
    leader.began("k")
    rest = [peer.start("load", "k") for peer in others]
    for peer in others:
        peer.do("release", "k")
    assert [answer.done() for answer in rest] == [False, False]
    leader.kill()
    assert [answer.result(60) for answer in rest] == ["old", "old"]
    assert len(company.calls("k")) == 2


def test_a_killed_leader_of_another_host_is_replaced_within_its_lease(company):
    """Nobody can look whether it still runs, so the lease has to end."""
    (leader,) = company.peers(1, held=True, lease=LEASE, realm="f" * 8)
    (other,) = company.peers(1, held=True, lease=LEASE)
    company.write("k", "old")
    leader.start("load", "k")
    leader.began("k")
    rest = other.start("load", "k")
    other.do("release", "k")
    leader.kill()
    started = time.monotonic()
    assert rest.result(60) == "old"
    print(f"served {time.monotonic() - started:.2f} s after the leader was killed; lease {LEASE} s")
    assert time.monotonic() - started < 10 * LEASE
    assert len(company.calls("k")) == 2


def test_hosts_wait_for_each_other(company):
    """Two hosts on one store: one call."""
    (here,) = company.peers(1, held=True, realm="1" * 8)
    (there,) = company.peers(1, held=True, realm="2" * 8)
    company.write("k", "old")
    first = here.start("load", "k")
    here.began("k")
    second = there.start("load", "k")
    here.do("release", "k")
    assert [first.result(60), second.result(60)] == ["old", "old"]
    assert company.calls("k") == [here.process.pid]


def test_a_leader_that_stood_still_for_longer_than_its_lease(company):
    """Its late result goes to its caller and not into the store."""
    leader, other = company.peers(2, held=True, lease=LEASE)
    company.write("k", "old")
    first = leader.start("load", "k")
    leader.began("k")
    leader.process.send_signal(signal.SIGSTOP)
    company.write("k", "new")
    other.do("release", "k")
    assert other.do("load", "k") == "new"
    leader.process.send_signal(signal.SIGCONT)
    leader.do("release", "k")
    assert first.result(60) == "old"
    assert leader.do("load", "k") == "new"
    assert company.calls("k") == [leader.process.pid, other.process.pid]


def test_a_long_computation_keeps_its_claim(company):
    """Two seconds with a lease of half a second, four processes: one call."""
    peers = company.peers(4, seconds=2.0, lease=0.5)
    company.write("k", "old")
    answers = [peer.start("load", "k") for peer in peers]
    assert [answer.result(60) for answer in answers] == ["old"] * 4
    assert len(company.calls("k")) == 1


def test_a_short_lease_beside_a_long_one(company_of, engine, colour):
    """The one who renews is not asleep for the sake of a claim that has more time."""
    company = company_of(engine, colour)
    waiting, other = company.peers(2, lease=0.5, seconds=1.5)
    company.write("a", "1")
    company.write("b", "2")
    first = waiting.start("fetch", "a")
    waiting.began("a")
    second = waiting.start("load", "b")
    waiting.began("b")
    assert [other.do("load", "b"), first.result(60), second.result(60)] == ["2", "1", "2"]
    assert len(company.calls("b")) == 1


def test_a_circle_of_computations_across_processes(company):
    """Each computes what the other waits for: both end, with a value, and without an error."""
    one, two = company.peers(2, held=True)
    company.write("k", "v")
    first = one.start("ping", "k")
    one.began("k")
    second = two.start("pong", "k")
    two.began("k")
    one.do("release", "k")
    two.do("release", "k")
    answers = [first.result(60), second.result(60)]
    assert [str(answer).count("v") > 0 for answer in answers] == [True, True]
    assert one.do("warnings") == two.do("warnings") == []


def test_one_refresh_at_a_time(company):
    """Of four processes that find a stale value one refreshes it; all serve it meanwhile."""
    peers = company.peers(4, held=True, freshness={"ttl": 0.05, "stale_ttl": 60})
    company.write("k", "old")
    peers[0].do("release", "k")
    assert peers[0].do("load", "k") == "old"
    peers[0].do("hold_again", "k")
    company.write("k", "new")
    deadline = time.monotonic() + 60
    while len(company.calls("k")) < 2:
        assert [peer.do("load", "k") for peer in peers] == ["old"] * 4
        assert time.monotonic() < deadline
    for _ in range(3):
        assert [peer.do("load", "k") for peer in peers] == ["old"] * 4
    assert len(company.calls("k")) == 2
    for peer in peers:
        peer.do("release", "k")
    while peers[0].do("load", "k") == "old":
        assert time.monotonic() < deadline
