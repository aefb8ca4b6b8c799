"""What goes to an engine and comes back: plain values, entries with clocks, sealed bytes."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref

import pytest

from cachewright import cached
from cachewright._packing import EntryPacker, PlainPacker, SealedPacker, SerializerChain
from cachewright.entry import MISSING, NEVER, Clock, Entry
from cachewright.envelope import Envelope, Opened
from cachewright.errors import ConfigurationError, EnvelopeError, UnserializableError
from cachewright.serializer import Serializer, SerializerInfo

NOTHING = {"ttl": None, "tags": (), "seconds": 0.0, "label": MISSING}


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
            packer.pack("k", value, **NOTHING)

    def test_coroutines_are_refused(self):
        """A second await would fail."""

        async def work():
            return 1

        work_once = work()
        with pytest.raises(UnserializableError, match="consumed only once"):
            PlainPacker().pack("k", work_once, **NOTHING)
        assert asyncio.run(work_once) == 1

    @pytest.mark.parametrize(
        "value", [[1], "text", range(3), {1: 2}.keys(), Cursor, generator, memoryview(b"x"), None]
    )
    def test_what_can_be_iterated_again_is_not_refused(self, value):
        """Nor are classes and functions."""
        assert PlainPacker().pack("k", value, **NOTHING).stored is value

    def test_the_error_reaches_the_caller_of_a_decorated_function(self):
        """As for generators: a mistake in the program is not passed over."""
        with pytest.raises(UnserializableError, match="a value of type map cannot be stored"):
            cached(lambda: map(str, [1, 2]))()


class TestPlain:
    """The value itself, without clocks."""

    def test_the_value_is_stored_as_it_is(self):
        """And comes back in an entry that never expires."""
        value = []
        packed = PlainPacker().pack("k", value, **NOTHING)
        assert (packed.stored, packed.size) == (value, 1)
        entry = PlainPacker().unpack("k", packed.stored)
        assert entry.value is value
        assert entry.expires == NEVER

    def test_a_deadline_has_no_place(self):
        """A ttl on a cache without clocks is refused, not forgotten."""
        with pytest.raises(ConfigurationError, match="ttl=5"):
            PlainPacker().pack("k", 1, **{**NOTHING, "ttl": 5})

    def test_a_measure_gives_the_size(self):
        """For engines that bound bytes."""
        assert PlainPacker(len).pack("k", "four", **NOTHING).size == 4
        assert EntryPacker(Clock(), len).pack("k", "four", **NOTHING).size == 4


class TestEntries:
    """A value with its clocks."""

    def test_the_deadline_is_strict_and_monotonic(self):
        """Served before it, not at it, whatever the wall clock says."""
        watch = Watch()
        packer = EntryPacker(watch.clock)
        entry = packer.pack("k", "v", **{**NOTHING, "ttl": 10.0}).stored
        watch.now += 9.999
        assert packer.unpack("k", entry) is entry
        watch.now = 1010.0
        assert packer.unpack("k", entry) is MISSING

    def test_everything_that_was_said_is_kept(self):
        """Creation on the wall clock, tags, seconds and label."""
        watch = Watch()
        stored = EntryPacker(watch.clock).pack("k", "v", ttl=None, tags=("t",), seconds=0.5, label="l").stored
        assert (stored.created, stored.tags, stored.seconds, stored.key) == (5_001_000.0, ("t",), 0.5, "l")
        assert stored.expires == NEVER

    def test_private_copies_are_made_both_ways(self):
        """Neither who stores nor who reads can change what is stored."""
        packer = EntryPacker(Clock(), private_copy=True)
        value = {"inner": [1]}
        stored = packer.pack("k", value, **NOTHING).stored
        value["inner"].append("changed by the owner")
        first = packer.unpack("k", stored).value
        first["inner"].append("changed by a reader")
        assert packer.unpack("k", stored).value == {"inner": [1]}

    def test_a_value_that_cannot_be_copied_is_refused_with_the_reason(self):
        """As values without a serializer are."""
        with pytest.raises(
            UnserializableError, match=r'_thread.lock.*copy="value" cannot copy it: TypeError'
        ) as caught:
            EntryPacker(Clock(), private_copy=True).pack("k", threading.Lock(), **NOTHING)
        assert isinstance(caught.value.__cause__, TypeError)

    def test_a_stored_value_that_can_no_longer_be_copied_is_a_miss(self):
        """Whatever its copying raises."""

        class Fickle:
            def __deepcopy__(self, memo):
                raise RecursionError

        with pytest.raises(EnvelopeError, match="decode"):
            EntryPacker(Clock(), private_copy=True).unpack("k", Entry(Fickle()))


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
        return packer.pack("aa", value, **{**NOTHING, **more})

    def test_it_comes_back_with_its_clocks(self, packer, watch):
        """On the wall clock."""
        packed = self.packed(packer, [1, None], ttl=10.0, tags=("t",), seconds=0.25, label=("k", 1))
        blob = b"".join(packed.stored)
        assert (packed.size, packed.serializer) == (len(blob), "spelling")
        entry = packer.unpack("aa", blob)
        assert (entry.value, entry.tags, entry.seconds) == ([1, None], ("t",), 0.25)
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


def test_what_a_packed_value_refers_to_is_let_go_with_it():
    """No packer keeps values."""

    class Value:
        pass

    value = Value()
    reference = weakref.ref(value)
    packed = EntryPacker(Clock()).pack("k", value, **NOTHING)
    del value, packed
    gc.collect()
    assert reference() is None
