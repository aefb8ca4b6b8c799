"""The joblib key maker keys arguments as ``joblib.hash`` does: by type and content, by what they pickle to.

Golden keys in the tests pin the format.
"""

from __future__ import annotations

import pickle
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cachewright.errors import UnkeyableArgumentError
from cachewright.keymaker import KeyMaker
from cachewright_joblib.hasher import DIGITS, Hasher, RefusedError

if TYPE_CHECKING:
    from cachewright.keymaker import Call

_FORMAT: Final = b"cachewright-joblib 1 "
_REASON_LIMIT: Final = 200


class JoblibKeyMaker(KeyMaker):
    """Makes keys of 40 hexadecimal digits from the parameters' names and joblib's hash of each argument.

    Stricter than equality: 1, 1.0 and ``True`` have keys of their own, whatever ``typed`` says, and so have
    arrays that lie in memory in different orders. Every argument is hashed by itself, so that passing
    one list twice is passing two equal ones.
    """

    def call_key(self, call: Call, /) -> str:
        """Return the key of a call.

        Raises:
            UnkeyableArgumentError: an argument does not pickle; names the parameter.
        """
        parts = [_FORMAT, b"call"]
        for name, value in zip(call.names, call.values, strict=True):
            text = name.encode("utf-8", "surrogatepass")
            parts += (len(text).to_bytes(4, "big"), text, _digest(value, call.function, name.lstrip("*")))
        return sha256(b"".join(parts), usedforsecurity=False).hexdigest()[:DIGITS]

    def value_key(self, value: object, /) -> str:
        """Return the key of one value; no call has it.

        Raises:
            UnkeyableArgumentError: the value does not pickle.
        """
        digest = _digest(value, "the cache", "key")
        return sha256(_FORMAT + b"value" + digest, usedforsecurity=False).hexdigest()[:DIGITS]


def _digest(value: object, function: str, parameter: str) -> bytes:
    kind = type(value).__qualname__
    try:
        return Hasher().digest(value)
    except RefusedError as refusal:
        raise UnkeyableArgumentError(function, parameter, kind, reason=str(refusal)) from None
    except RecursionError:
        reason = "it is nested too deeply for joblib"
        raise UnkeyableArgumentError(function, parameter, kind, reason=reason) from None
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, NotImplementedError) as error:
        text = str(error.args[0] if error.args else error).partition("\n")[0][:_REASON_LIMIT]
        raise UnkeyableArgumentError(function, parameter, kind, reason=text) from error
