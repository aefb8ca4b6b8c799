"""What goes to an engine and comes back: plain values, entries with clocks, sealed bytes."""

from __future__ import annotations

import asyncio
import gc
import math
import sys
import threading
import weakref

import pytest

from cachewright import cached
from cachewright._claims import TOKEN_SIZE
from cachewright._packing import CallLabel, Draft, EntryPacker, PlainPacker, SealedPacker, SerializerChain
from cachewright.entry import MISSING, NEVER, AgedEntry, Clock, Entry
from cachewright.envelope import CLAIM, EXCEPTION, NEGATIVE, Envelope, Opened
from cachewright.errors import ConfigurationError, EnvelopeError, UnserializableError
from cachewright.freshness import Freshness
from cachewright.serializer import Serializer, SerializerInfo


class Watch:
    """Two clocks that are set by hand."""

    def __init__(self):
        self.now = 1000.0
        self.clock = Clock(wall=lambda: 5_000_000.0 + self.now, monotonic=lambda: self.now)


class Spelling(Serializer):
    """Writes any value as its repr; reads literals."""

    def dumps(self, value):
        return [repr(value).encode()]

    def loads(self, frames):
        return eval(bytes(frames[0]), {})


class Refusing(Serializer):
    def dumps(self, value):
        raise UnserializableError("Any", "I never do")

    def loads(self, frames):
        raise AssertionError


class Raising(Serializer):
    """Raises what the class attribute says, both ways."""

    error: BaseException = ValueError("foreign")

    def dumps(self, value):
        raise self.error

    def loads(self, frames):
        raise self.error


class Unmakeable(Serializer):
    def __init__(self):
        raise OSError("no licence")

    def dumps(self, value):
        raise AssertionError

    def loads(self, frames):
        raise AssertionError


class Pair(tuple):
    """Subclass of a type with a serializer."""


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    """Records name this module, which pytest imports under a name of its own."""
    monkeypatch.setitem(sys.modules, "serializers_of_test_packing", sys.modules[__name__])


def info(cls, code, name="", **more):
    return SerializerInfo(
        name=name or cls.__name__.lower(),
        code=code,
        target=f"serializers_of_test_packing:{cls.__name__}",
        **more,
    )


def opened(code, payload=b"1"):
    made = Opened()
    made.serializer, made.frames = code, [memoryview(payload)]
    return made


def generator():
    yield 1


async def stream():
    yield 1


class Cursor:
    """An iterator of somebody's own."""

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration


class TestOneShotValues:
    """What a first caller would use up is not stored."""

    @pytest.mark.parametrize(
        "value",
        [generator(), stream(), iter([1]), map(str, [1]), zip([1]), enumerate([1]), reversed([1]), Cursor()],
        ids=lambda value: type(value).__name__,
    )
    @pytest.mark.parametrize("packer", [PlainPacker(), EntryPacker(Clock())], ids=["plain", "entry"])
    def test_iterators_are_refused(self, packer, value):
        """With advice to return a list."""
        with pytest.raises(UnserializableError, match="return a list instead"):
            packer.pack("k", Draft(value))

    def test_coroutines_are_refused(self):
        """A second await would fail."""

        async def work():
            return 1

        work_once = work()
        with pytest.raises(UnserializableError, match="consumed only once"):
            PlainPacker().pack("k", Draft(work_once))
        assert asyncio.run(work_once) == 1

    @pytest.mark.parametrize(
        "value", [[1], "text", range(3), {1: 2}.keys(), Cursor, generator, memoryview(b"x"), None]
    )
    def test_what_can_be_iterated_again_is_not_refused(self, value):
        """Nor are classes and functions."""
        assert PlainPacker().pack("k", Draft(value)).stored is value

    def test_the_error_reaches_the_caller_of_a_decorated_function(self):
        """As for generators: a mistake in the program is not passed over."""
        with pytest.raises(UnserializableError, match="a value of type map cannot be stored"):
            cached(lambda: map(str, [1, 2]))()


class TestPlain:
    """The value itself, without clocks."""

    def test_the_value_is_stored_as_it_is(self):
        """And comes back in an entry that never expires."""
        value = []
        packed = PlainPacker().pack("k", Draft(value))
        assert (packed.stored, packed.size) == (value, 1)
        entry = PlainPacker().unpack("k", packed.stored)
        assert entry.value is value
        assert entry.expires == NEVER

    def test_a_deadline_has_no_place(self):
        """A ttl on a cache without clocks is refused, not forgotten."""
        with pytest.raises(ConfigurationError, match="ttl=5"):
            PlainPacker().pack("k", Draft(1, 5))

    def test_a_measure_gives_the_size(self):
        """For engines that bound bytes."""
        assert PlainPacker(len).pack("k", Draft("four")).size == 4
        assert EntryPacker(Clock(), len).pack("k", Draft("four")).size == 4


class TestEntries:
    """A value with its clocks."""

    def test_the_deadline_is_strict_and_monotonic(self):
        """Served before it, not at it, whatever the wall clock says."""
        watch = Watch()
        packer = EntryPacker(watch.clock)
        entry = packer.pack("k", Draft("v", 10.0)).stored
        watch.now += 9.999
        assert packer.unpack("k", entry) is entry
        watch.now = 1010.0
        assert packer.unpack("k", entry) is MISSING

    def test_everything_that_was_said_is_kept(self):
        """Creation on the wall clock, tags, seconds and label."""
        watch = Watch()
        draft = Draft("v", seconds=0.5, tags={"t": "", "u": ""}, label="l")
        stored = EntryPacker(watch.clock).pack("k", draft).stored
        assert type(stored) is Entry
        assert (stored.created, stored.tags, stored.seconds, stored.key) == (
            5_001_000.0,
            ("t", "u"),
            0.5,
            "l",
        )
        assert stored.expires == NEVER

    def test_private_copies_are_made_both_ways(self):
        """Neither who stores nor who reads can change what is stored."""
        packer = EntryPacker(Clock(), private_copy=True)
        value = {"inner": [1]}
        stored = packer.pack("k", Draft(value)).stored
        value["inner"].append("changed by the owner")
        first = packer.unpack("k", stored).value
        first["inner"].append("changed by a reader")
        assert packer.unpack("k", stored).value == {"inner": [1]}

    def test_a_value_that_cannot_be_copied_is_refused_with_the_reason(self):
        """As values without a serializer are."""
        with pytest.raises(
            UnserializableError, match=r'_thread.lock.*copy="value" cannot copy it: TypeError'
        ) as caught:
            EntryPacker(Clock(), private_copy=True).pack("k", Draft(threading.Lock()))
        assert isinstance(caught.value.__cause__, TypeError)

    def test_a_stored_value_that_can_no_longer_be_copied_is_a_miss(self):
        """Whatever its copying raises."""

        class Fickle:
            def __deepcopy__(self, memo):
                raise RecursionError

        with pytest.raises(EnvelopeError, match="decode"):
            EntryPacker(Clock(), private_copy=True).unpack("k", Entry(Fickle()))

    def test_an_entry_with_windows_is_kept_beyond_its_ttl(self):
        """Generated hit paths serve it up to the refresh point; it is found to the end of the windows."""
        watch = Watch()
        packer = EntryPacker(watch.clock)
        draft = Draft("v", 10.0, freshness=Freshness(stale_ttl=5, error_ttl=20, refresh_at=0.8))
        packed = packer.pack("k", draft)
        entry = packed.stored
        assert type(entry) is AgedEntry
        assert (entry.expires, entry.soft, entry.until) == (1008.0, 1010.0, 1030.0)
        assert (packed.ttl, entry.negative, entry.tokens) == (30.0, False, {})
        watch.now = 1029.999
        assert packer.unpack("k", entry) is entry
        watch.now = 1030.0
        assert packer.unpack("k", entry) is MISSING

    def test_an_exception_is_met_by_no_hit_path(self):
        """Whatever its ttl: a generated one hands out values. Windows are for values, too."""
        watch = Watch()
        for ttl, until in ((10.0, 1010.0), (None, NEVER)):
            draft = Draft(("n", (), {}), ttl, freshness=Freshness(stale_ttl=5), negative=True)
            packed = EntryPacker(watch.clock).pack("k", draft)
            entry = packed.stored
            assert (entry.negative, entry.expires, entry.until, packed.ttl) == (True, -NEVER, until, ttl)
            assert EntryPacker(watch.clock).unpack("k", entry) is entry

    def test_a_private_copy_keeps_what_an_aged_entry_is(self):
        """Its clocks, its kind and its tags; only the value is another object."""
        draft = Draft([1], 10.0, tags={"t": ""}, freshness=Freshness(stale_ttl=5))
        packer = EntryPacker(Clock(), private_copy=True)
        stored = packer.pack("k", draft).stored
        copied = packer.unpack("k", stored)
        assert (type(copied), copied.value) == (AgedEntry, [1])
        assert copied.value is not stored.value
        for name in ("soft", "until", "negative", "tokens", "tags", "expires", "created"):
            assert getattr(copied, name) == getattr(stored, name)


@pytest.mark.parametrize(
    ("draft", "kept"),
    [
        (Draft(1), None),
        (Draft(1, 10.0), 10.0),
        (Draft(1, 0.0), 0.0),
        (Draft(1, None, freshness=Freshness(stale_ttl=5)), None),
        (Draft(1, 10.0, freshness=Freshness()), 10.0),
        (Draft(1, 10.0, freshness=Freshness(stale_ttl=5)), 15.0),
        (Draft(1, 10.0, freshness=Freshness(stale_ttl=5, error_ttl=7)), 17.0),
        (Draft(1, 10.0, freshness=Freshness(error_ttl=math.inf)), None),
        (Draft(1, 10.0, freshness=Freshness(stale_ttl=5), negative=True), 10.0),
    ],
    ids=repr,
)
def test_an_engine_keeps_an_entry_for_its_ttl_and_its_windows(draft, kept):
    """``None`` for ever; an exception has no windows."""
    assert draft.kept == kept


class TestChain:
    """Serializers in the order of their rank."""

    def test_the_lowest_rank_is_asked_first_and_names_decide_ties(self):
        """The order of the records does not matter."""
        records = [info(Spelling, 3, "b"), info(Spelling, 2, "a"), info(Spelling, 1, "late", rank=90)]
        for order in (records, records[::-1]):
            chain = SerializerChain(order)
            assert [each.name for each in chain.infos] == ["a", "b", "late"]
            assert chain.dumps(1)[0].name == "a"

    def test_only_serializers_made_for_the_type_are_asked(self):
        """Exactly the type, or with ``exact=False`` also its subclasses."""
        only = info(Spelling, 1, types=("builtins.tuple",))
        assert SerializerChain([only]).dumps((1,))[0] is only
        for value in (Pair((1,)), [1]):
            with pytest.raises(UnserializableError, match="no serializer is allowed"):
                SerializerChain([only]).dumps(value)
        family = info(Spelling, 1, types=("builtins.tuple",), exact=False)
        assert SerializerChain([family]).dumps(Pair((1,)))[0] is family

    def test_a_refusal_passes_the_value_on(self):
        """To the next that accepts it."""
        chain = SerializerChain([info(Refusing, 1, rank=1), info(Spelling, 2, rank=2)])
        used, frames = chain.dumps(5)
        assert (used.code, frames) == (2, [b"5"])

    def test_when_all_refuse_every_reason_is_told(self):
        """By name, also of those that are broken."""
        gone = SerializerInfo(name="gone", code=9, target="cachewright.nowhere:Gone")
        chain = SerializerChain([info(Refusing, 1), info(Unmakeable, 2), info(Raising, 3), gone])
        with pytest.raises(UnserializableError) as caught:
            chain.dumps(5)
        text = str(caught.value)
        for reason in (
            "refusing: I never do",
            "unmakeable: OSError: no licence",
            "raising: ValueError: foreign",
            "gone: ",
        ):
            assert reason in text
        assert "builtins.int" in text

    @pytest.mark.parametrize("error", [RecursionError("deep"), MemoryError(), KeyError("k")], ids=repr)
    def test_whatever_a_serializer_raises_is_its_refusal(self, monkeypatch, error):
        """Also for want of stack or memory: the next one may do."""
        monkeypatch.setattr(Raising, "error", error)
        chain = SerializerChain([info(Raising, 1, rank=1), info(Spelling, 2, rank=2)])
        assert chain.dumps(5)[0].code == 2

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()], ids=repr)
    def test_interruptions_pass_through(self, monkeypatch, error):
        """Both ways."""
        monkeypatch.setattr(Raising, "error", error)
        chain = SerializerChain([info(Raising, 1)])
        with pytest.raises(type(error)):
            chain.dumps(5)
        with pytest.raises(type(error)):
            chain.loads(opened(1))

    def test_a_payload_of_a_serializer_that_is_not_allowed_is_a_miss(self):
        """Unknown ids and serializers that cannot be loaded."""
        gone = SerializerInfo(name="gone", code=9, target="cachewright.nowhere:Gone")
        chain = SerializerChain([info(Spelling, 1), gone])
        for code in (2, 9):
            with pytest.raises(EnvelopeError, match="serializer"):
                chain.loads(opened(code))
        assert chain.loads(opened(1, b"(1, 2)")) == (1, 2)

    @pytest.mark.parametrize(
        "error", [ValueError("x"), KeyError("x"), UnserializableError("a", "b")], ids=repr
    )
    def test_any_failure_to_decode_is_a_miss_with_its_cause(self, monkeypatch, error):
        """Decoding runs foreign code."""
        monkeypatch.setattr(Raising, "error", error)
        with pytest.raises(EnvelopeError, match="decode") as caught:
            SerializerChain([info(Raising, 1)]).loads(opened(1))
        assert caught.value.__cause__ is error

    @pytest.mark.parametrize("error", [RecursionError("deep"), MemoryError()], ids=repr)
    def test_want_of_stack_or_memory_is_a_miss_without_the_frames_that_caused_it(self, monkeypatch, error):
        """What did not fit is not kept alive by a traceback."""
        monkeypatch.setattr(Raising, "error", error)
        with pytest.raises(EnvelopeError, match="decode") as caught:
            SerializerChain([info(Raising, 1)]).loads(opened(1))
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__

    def test_names_are_told_for_listing(self):
        """Unknown ids in hexadecimal."""
        chain = SerializerChain([info(Spelling, 1)])
        assert (chain.name_of(1), chain.name_of(200)) == ("spelling", "unknown (0xc8)")

    @pytest.mark.parametrize(("code", "advice"), [(1, "CACHEWRIGHT_SIGNING_KEYS"), (0x81, "can be pickled")])
    def test_the_advice_fits_the_trust(self, code, advice):
        """Signing keys where only plain data is allowed."""
        with pytest.raises(UnserializableError, match=advice):
            SerializerChain([info(Refusing, code)]).dumps(1)


class TestSealed:
    """Authenticated envelopes."""

    @pytest.fixture
    def watch(self):
        return Watch()

    @pytest.fixture
    def packer(self, watch):
        return SealedPacker(
            watch.clock, Envelope("space", ring=None), SerializerChain([info(Spelling, 1)]), Spelling()
        )

    def packed(self, packer, value, **more):
        return packer.pack("aa", Draft(value, **more))

    def test_it_comes_back_with_its_clocks(self, packer, watch):
        """On the wall clock."""
        packed = self.packed(packer, [1, None], ttl=10.0, seconds=0.25, label=("k", 1))
        blob = b"".join(packed.stored)
        assert (packed.size, packed.serializer, packed.ttl) == (len(blob), "spelling", 10.0)
        entry = packer.unpack("aa", blob)
        assert type(entry) is Entry
        assert (entry.value, entry.tags, entry.seconds) == ([1, None], (), 0.25)
        assert entry.expires == pytest.approx(watch.clock.wall() + 10)
        assert packer.label_of(packer.open("aa", blob)) == ("k", 1)

    def test_expired_is_missing_and_not_an_error(self, packer, watch):
        """At the deadline."""
        blob = b"".join(self.packed(packer, 1, ttl=10.0).stored)
        watch.now += 10
        assert packer.unpack("aa", blob) is MISSING

    def test_an_entry_under_another_key_is_refused(self, packer):
        """Envelopes are bound to their key."""
        blob = b"".join(self.packed(packer, 1).stored)
        with pytest.raises(EnvelopeError, match="auth"):
            packer.unpack("bb", blob)

    def test_a_label_that_is_too_long_or_unserializable_is_left_out(self, watch):
        """The value is stored all the same."""
        chain, envelope = SerializerChain([info(Spelling, 1)]), Envelope("space", ring=None)
        for labels, label in ((Spelling(), "x" * 5000), (Refusing(), "x"), (Spelling(), MISSING)):
            packer = SealedPacker(watch.clock, envelope, chain, labels)
            blob = b"".join(self.packed(packer, 1, label=label).stored)
            assert packer.label_of(packer.open("aa", blob)) is MISSING
            assert packer.unpack("aa", blob).value == 1

    def test_a_label_that_cannot_be_read_is_absent(self, packer, watch):
        """Listing goes on."""
        blob = b"".join(self.packed(packer, 1, label="k").stored)
        other = SealedPacker(watch.clock, Envelope("space", ring=None), packer.chain, Raising())
        assert other.label_of(other.open("aa", blob)) is MISSING

    def test_an_entry_with_windows_has_two_ends(self, packer, watch):
        """Its ttl and the end of its windows, both on the wall clock."""
        windows = Freshness(stale_ttl=5, error_ttl=20)
        packed = self.packed(packer, 1, ttl=10.0, freshness=windows)
        blob, start = b"".join(packed.stored), watch.clock.wall()
        entry = packer.unpack("aa", blob)
        assert type(entry) is AgedEntry
        assert (entry.soft, entry.until) == (pytest.approx(start + 10), pytest.approx(start + 30))
        assert (packed.ttl, entry.expires, entry.negative, entry.tokens) == (30.0, entry.soft, False, {})
        watch.now += 29.9
        assert packer.unpack("aa", blob).value == 1
        watch.now += 0.1
        assert packer.unpack("aa", blob) is MISSING

    def test_windows_around_no_end_are_not_stored(self, packer):
        """Nothing ages that lives for ever."""
        blob = b"".join(self.packed(packer, 1, freshness=Freshness(stale_ttl=5)).stored)
        assert type(packer.unpack("aa", blob)) is Entry

    def test_endless_windows_end_never(self, packer, watch):
        """The ttl is kept all the same."""
        blob = b"".join(self.packed(packer, 1, ttl=10.0, freshness=Freshness(stale_ttl=math.inf)).stored)
        watch.now += 1e8
        entry = packer.unpack("aa", blob)
        assert (entry.until, entry.soft) == (NEVER, pytest.approx(entry.created + 10))

    def test_an_exception_comes_back_as_one(self, packer):
        """Marked, so that nobody hands it out as a value."""
        raised = ("builtins.LookupError", ("x",), {})
        blob = b"".join(self.packed(packer, raised, ttl=10.0, negative=True).stored)
        entry = packer.unpack("aa", blob)
        assert (entry.negative, entry.value) == (True, raised)
        assert packer.open("aa", blob).flags == EXCEPTION

    @pytest.mark.parametrize(
        "tokens",
        [{"t": "ab"}, {"user:7": "00ff", "": "11", ":": "22", "\ud800": "33", "é\0": "", "x" * 5000: "44"}],
    )
    def test_tags_come_back_with_their_tokens(self, packer, tokens):
        """Whatever text a tag is, and in their order."""
        entry = packer.unpack("aa", b"".join(self.packed(packer, 1, tags=tokens).stored))
        assert (list(entry.tokens.items()), entry.tags) == (list(tokens.items()), tuple(tokens))

    def test_equal_values_are_never_the_same_bytes(self, packer):
        """So that a compare-and-set tells a value from the one that it replaced."""
        blobs = {b"".join(self.packed(packer, 1, ttl=10.0).stored) for _ in range(200)}
        assert len(blobs) == 200

    def test_a_call_is_kept_as_digests(self, packer):
        """Whose it is and of which arguments, beside keys that a caller chose."""
        for label in (
            CallLabel("", ()),
            CallLabel("m.f", (b"0123456789",)),
            CallLabel("\ud800:é", (b"C" * 10, bytes(10), b"\xff" * 10)),
        ):
            blob = b"".join(self.packed(packer, 1, label=label).stored)
            found = packer.label_of(packer.open("aa", blob))
            assert type(found) is CallLabel
            assert found == label


class TestClaims:
    """What stands in a store for a value that is being computed."""

    TOKEN = b"t" * TOKEN_SIZE

    @pytest.fixture
    def watch(self):
        return Watch()

    @pytest.fixture
    def envelope(self):
        return Envelope("space", ring=None)

    @pytest.fixture
    def packer(self, watch, envelope):
        return SealedPacker(watch.clock, envelope, SerializerChain([info(Spelling, 1)]), Spelling())

    def test_a_claim_is_no_entry(self, packer):
        """It is a miss, and is read back as what it is."""
        blob = packer.claim("aa", self.TOKEN + b"realm-1f", {"t": "ab"}, ("k", 1), expires=None)
        assert packer.unpack("aa", blob) is MISSING
        claim = packer.claim_of("aa", blob)
        assert (claim.token, claim.owner, claim.tags) == (self.TOKEN, "realm-1f", {"t": "ab"})
        assert packer.label_of(packer.open("aa", blob)) == ("k", 1)

    def test_a_claim_ends_with_its_lease(self, packer, watch):
        """Where the engine knows no deadlines."""
        blob = packer.claim("aa", self.TOKEN, {}, MISSING, expires=watch.clock.wall() + 10)
        assert packer.claim_of("aa", blob) is not None
        watch.now += 10
        assert packer.claim_of("aa", blob) is None
        assert packer.unpack("aa", blob) is MISSING

    def test_everything_else_is_no_claim(self, packer):
        """Nothing, a value, an exception, garbage, and the claim on another key."""
        value = b"".join(packer.pack("aa", Draft(1)).stored)
        exception = b"".join(packer.pack("aa", Draft(1, negative=True)).stored)
        other = packer.claim("bb", self.TOKEN, {}, MISSING, expires=None)
        for stored in (MISSING, value, exception, other, b"", b"\0" * 200, value[:-1]):
            assert packer.claim_of("aa", stored) is None

    @pytest.mark.parametrize("flags", [CLAIM, CLAIM | EXCEPTION, CLAIM | NEGATIVE, 7])
    @pytest.mark.parametrize("payload", [b"", b"1", b"x" * 15, b"t" * 16 + b"\xff\0-z", bytes(5000)])
    def test_a_forged_claim_is_a_miss_and_nothing_worse(self, packer, envelope, flags, payload):
        """Its payload is never decoded as a value, and who claims it counts as alive."""
        blob = b"".join(
            envelope.seal(
                "aa", [payload, b"more"], serializer=1, created=0.0, tags=("no token",), flags=flags
            )
        )
        assert packer.unpack("aa", blob) is MISSING
        claim = packer.claim_of("aa", blob)
        assert claim.token == payload[:TOKEN_SIZE]
        assert not claim.abandoned


def test_what_a_packed_value_refers_to_is_let_go_with_it():
    """No packer keeps values."""

    class Value:
        pass

    value = Value()
    reference = weakref.ref(value)
    packed = EntryPacker(Clock()).pack("k", Draft(value))
    del value, packed
    gc.collect()
    assert reference() is None
