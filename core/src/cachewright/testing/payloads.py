"""Hostile payloads: bytes that run code in a decoder that trusts them, or exhaust one that does not."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator, Sequence
from typing import Final

WIRE: Final = b"cachewright.testing.tripwire"

HOSTILE_PICKLES: Final[tuple[bytes, ...]] = (
    b"c" + WIRE + b"\npull\n(tR.",
    b"\x80\x02c" + WIRE + b"\npull\n)R.",
    b"\x80\x04\x8c\x1c" + WIRE + b"\x8c\x04pull\x93)R.",
    b"\x80\x04\x8c\x1c" + WIRE + b"\x8c\x11Tripwire.__init__\x93)R.",
    b"(i" + WIRE + b"\npull\n.",
    b"(c" + WIRE + b"\npull\no.",
    b"\x80\x02c" + WIRE + b"\nTripwire\n)\x81.",
    b"\x80\x04c" + WIRE + b"\nTripwire\n)}\x92.",
    b"\x80\x02c" + WIRE + b"\nTripwire\n)\x81}b.",
    b"cos\nsystem\n(S'true'\ntR.",
    b"cposix\nsystem\n(S'true'\ntR.",
    b"cnt\nsystem\n(S'true'\ntR.",
    b"csubprocess\nPopen\n((lS'true'\natR.",
    b"cbuiltins\neval\n(S'__import__(\"antigravity\")'\ntR.",
    b"c__builtin__\neval\n(S'1'\ntR.",
    b"cbuiltins\nexec\n(S'import antigravity'\ntR.",
    b"cbuiltins\ncompile\n(S'1'\nS'x'\nS'eval'\ntR.",
    b"cbuiltins\n__import__\n(S'antigravity'\ntR.",
    b"cimportlib\nimport_module\n(S'antigravity'\ntR.",
    b"cbuiltins\nopen\n(S'/etc/passwd'\ntR.",
    b"cio\nopen\n(S'/etc/passwd'\ntR.",
    b"cpathlib\nPath.read_text\n(cpathlib\nPath\n(S'/etc/passwd'\ntRtR.",
    b"\x80\x04\x8c\x07pathlib\x8c\x0ePath.read_bytes\x93\x8c\x07pathlib\x8c\x04Path\x93\x8c\x0b/etc/passwd\x85R\x85R.",
    b"cbuiltins\ngetattr\n(cos\nS'system'\ntR(S'true'\ntR.",
    b"\x80\x04\x8c\x08builtins\x8c\x15object.__subclasses__\x93)R.",
    b"\x80\x04\x8c\x08datetime\x8c\x0esys.modules.os\x93.",
    b"\x80\x04\x8c\x0bcollections\x8c\x10_sys.modules.get\x93\x8c\x02os\x85R.",
    b"cfunctools\npartial\n(c" + WIRE + b"\npull\ntR)R.",
    b"cfunctools\nreduce\n(c" + WIRE + b"\npull\n(lI1\naI2\natR.",
    b"coperator\nattrgetter\n(S'system'\ntR.",
    b"coperator\nmethodcaller\n(S'system'\nS'true'\ntR(cos\ntR.",
    b"cbuiltins\nmap\n(c" + WIRE + b"\npull\n(lI1\natR.",
    b"cbuiltins\nlist\n(cbuiltins\nmap\n(c" + WIRE + b"\npull\n(lI1\natRtR.",
    b"ccollections\ndefaultdict\n(c" + WIRE + b"\npull\ntR.",
    b"\x80\x02ccopy_reg\n_reconstructor\n(c" + WIRE + b"\nTripwire\ncbuiltins\nobject\nNtR.",
    b"ccopyreg\n__newobj__\n(c" + WIRE + b"\nTripwire\ntR.",
    b"cpickle\nloads\n(C\x05N.xxxtR.",
    b"cmarshal\nloads\n(S'N'\ntR.",
    b"ctypes\nFunctionType\n)R.",
    b"ccode\nInteractiveConsole\n)R.",
    b"crunpy\nrun_module\n(S'antigravity'\ntR.",
    b"cwebbrowser\nopen\n(S'http://localhost'\ntR.",
    b"csocket\nsocket\n)R.",
    b"cctypes\nCDLL\n(NtR.",
    b"cnumpy\nload\n(S'/etc/passwd'\ntR.",
    b"cnumpy.core.multiarray\n_reconstruct\n(c" + WIRE + b"\nTripwire\n(I0\ntS'b'\ntR.",
    b"cantigravity\nx\n.",
    b"\x82\x01.",
    b"Pos.system\n.",
    b"\x80\x05\x97.",
)
"""Pickles that call something, for decoders that are built on pickle; noise for all others."""

EXHAUSTING: Final[tuple[bytes, ...]] = (
    b"",
    b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
    b"(" * 100_000 + b"t" * 100_000 + b".",
    b"[" * 100_000,
    b"{" * 100_000,
    b"\x91" * 100_000,
    b"\x81" * 100_000,
    b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
    b"\x8b\xff\xff\xff\x7f.",
    b"\x80\x04r\xff\xff\xff\x7f.",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\x93NUMPY\x01\x00\xff\xff",
    b"\xff" * 1000,
    b"\0" * 1000,
)
"""Payloads that nest or announce more than there is."""


def hostile_frames(examples: Sequence[Sequence[bytes]]) -> Iterator[list[bytes]]:
    """Yield frames to decode: hostile payloads alone, beside, inside and instead of real frames."""
    for payload in (*HOSTILE_PICKLES, *EXHAUSTING):
        yield [payload]
        yield [payload, payload]
    yield []
    for frames in examples:
        for payload in HOSTILE_PICKLES:
            for position in range(len(frames)):
                yield [*frames[:position], payload, *frames[position + 1 :]]
            yield [frames[0] + payload, *frames[1:]]
            yield [frames[0][:1] + payload, *frames[1:]]
            yield [*frames, payload]
    generator = random.Random(0xCACE)
    for _ in range(500):
        yield [generator.randbytes(generator.randrange(1, 200))]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        whole = pickle.dumps({"a": [1, (2.5, "x")]}, protocol)
        for _ in range(50):
            yield [damaged(whole, generator)]


def damaged(whole: bytes, generator: random.Random) -> bytes:
    """Return ``whole`` with a few bytes flipped, cut off, repeated or replaced by zeros."""
    spoilt = bytearray(whole)
    if not spoilt:
        return b"\0"
    at = generator.randrange(len(spoilt))
    match generator.randrange(5):
        case 0:
            spoilt[at] ^= 1 << generator.randrange(8)
        case 1:
            del spoilt[at:]
        case 2:
            spoilt[at:at] = spoilt[: generator.randrange(1, 9)]
        case 3:
            spoilt[at : at + 8] = bytes(min(8, len(spoilt) - at))
        case _:
            spoilt[at : at + 4] = generator.randbytes(4)
    return bytes(spoilt)
