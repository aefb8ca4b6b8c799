"""A script is what a server does in one step, so that nobody else's command comes in between."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Final

_READ: Final = "local stored = redis.call('GET', KEYS[1])\n"

_READ_LIVE: Final = """\
local number = redis.call('GET', KEYS[2])
local stored = redis.call('GET', KEYS[1])
if number and stored and string.sub(stored, 1, #number) == number then
  stored = string.sub(stored, #number + 1)
else
  stored = false
end
"""

_NUMBER: Final = """\
if not number then
  number = ARGV[1]
  redis.call('SET', KEYS[2], number)
end
"""

_COMPARE: Final = """\
if ARGV[2] == '0' then
  if stored then return 0 end
elseif not stored then
  return 0
elseif ARGV[2] == '1' then
  if stored ~= ARGV[3] then return 0 end
elseif #stored ~= tonumber(ARGV[4]) or string.sub(stored, 1, #ARGV[3]) ~= ARGV[3]
    or redis.sha1hex(stored) ~= ARGV[5] then
  return 0
end
if ARGV[6] == '0' then
  redis.call('UNLINK', KEYS[1])
  return 1
end
"""

_WRITE: Final = """\
if ARGV[8] == '' then
  redis.call('SET', KEYS[1], ARGV[7])
else
  redis.call('SET', KEYS[1], ARGV[7], 'PX', ARGV[8])
end
return 1
"""

_WRITE_NUMBERED: Final = _WRITE.replace("ARGV[7]", "number .. ARGV[7]")

SWAP: Final = _READ + _COMPARE + _WRITE
"""Stores ARGV[7] for ARGV[8] milliseconds, or deletes if ARGV[6] is '0', only if what is expected is stored.

That is nothing ('0' as ARGV[2]), ARGV[3] ('1'), or what begins with ARGV[3], has ARGV[4] bytes and
the SHA-1 digest ARGV[5] ('2').
"""

SWAP_LIVE: Final = _READ_LIVE + _COMPARE + _NUMBER + _WRITE_NUMBERED
"""The same where entries begin with the number of the generation that is stored as KEYS[2].

An entry of another generation is none. Where there is no number, the writer's ARGV[1] becomes it.
"""

STORE_LIVE: Final = "local number = redis.call('GET', KEYS[2])\n" + _NUMBER + _WRITE_NUMBERED
"""Stores ARGV[7] for ARGV[8] milliseconds in the generation that is stored as KEYS[2], or in ARGV[1]."""

REMOVE_LIVE: Final = _READ_LIVE + "redis.call('UNLINK', KEYS[1])\nif stored then return 1 end\nreturn 0\n"
"""Deletes; returns whether there was an entry of the generation that is stored as KEYS[2]."""

LIVE: Final = """\
local live = {}
local number = redis.call('GET', KEYS[1])
for at = 2, #KEYS do
  live[at - 1] = number and redis.call('GETRANGE', KEYS[at], 0, #number - 1) == number and 1 or 0
end
return live
"""
"""Returns for each of KEYS[2] and so on whether it belongs to the generation that is stored as KEYS[1]."""

CLEAR: Final = """\
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
for _, name in ipairs(page[2]) do redis.call('UNLINK', name) end
return page[1]
"""
"""Deletes what matches ARGV[2] among the next ARGV[3] names after ARGV[1]; returns where to go on, or '0'."""


@cache
def digest(script: str) -> str:
    """Return the name by which a server knows a script that it has seen."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


BY_DIGEST: Final = {
    digest(script): script for script in (SWAP, SWAP_LIVE, STORE_LIVE, REMOVE_LIVE, LIVE, CLEAR)
}
