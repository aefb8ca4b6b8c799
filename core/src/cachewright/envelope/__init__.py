"""An envelope is the stored form of an entry: header, tag and frames, bound to its key and namespace.

::

    off len  field
      0   2  CA CE
      2   1  version = 1
      3   1  suite: 0 CHK, 1 keyed BLAKE2b-256, 2 HMAC-SHA-256, from 3 on a cipher
      4   1  serializer, from 0x80 on decoding could execute code
      5   1  codec, 0 for not compressed
      6   1  flags: 1 negative entry, 2 cached exception, 4 claim; unknown bits refuse
      7   1  0
      8   8  key id, zeros for CHK
     16   8  created            microseconds since the epoch, signed
     24   8  soft expiry        microseconds since the epoch, 0 none
     32   8  hard expiry        microseconds since the epoch, 0 none
     40   8  generation
     48   8  raw length: the bytes of all frames together
     56   8  seconds that computing the value took, IEEE 754
     64   8  length of the first frame
     72   4  length of the meta section
     76   4  number of buffers, the frames after the first
     80   t  tag: 16 bytes for CHK, else 32
     ..      meta: version, label, tags; empty if there is none of them
     ..      frame table: length (8) and digest (32) of every buffer
     ..      first frame
     ..      buffers, each at a multiple of 64 from the start, zeros in between

Integers are big-endian. The tag covers LP(context) LP(namespace) LP(key), the header, meta, frame
table and first frame; the table's digests cover the buffers; zeros between them are checked. Nothing
may follow. Why buffers have digests of their own: docs/decisions/0001-buffers-verified-once.md.

With a codec, the first frame is the only one: a compressed *run* of all frames, whose own length is the
raw length. A run is the number of frames (4), their lengths (8 each), the first frame, and the others,
each at a multiple of 64 from its start.

With a cipher, no tag follows the header but what the cipher makes of the rest: nonce, encrypted bytes, tag.
What it associates is what a tag would cover first: LP(context) LP(namespace) LP(key) and the header. The
rest is meta, the lengths of the buffers (8 each), the first frame, and the buffers, each at a multiple of
64 from the start of the rest. Why: docs/decisions/0011-compressed-then-encrypted.md.
"""

from __future__ import annotations

from cachewright._envelope_parts import Opened
from cachewright.envelope.header import CLAIM, EXCEPTION, NEGATIVE
from cachewright.envelope.signed import Envelope

__all__ = ["CLAIM", "EXCEPTION", "NEGATIVE", "Envelope", "Opened"]
