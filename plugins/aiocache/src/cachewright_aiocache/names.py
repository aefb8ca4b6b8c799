"""Names are what the entries of one namespace are called on a server."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final
from urllib.parse import quote

from cachewright.errors import ConfigurationError

PREFIX: Final = "cw-aiocache:"

LONGEST_PREFIX: Final = 40

LONGEST_LABEL: Final = 80
"""Letters of a namespace that are shown in names; a longer one ends in a digest of the whole."""

LONGEST_KEY: Final = 64
"""Letters of a key that are shown in the names of a server that bounds their length."""

HEXADECIMAL: Final = re.compile(r"[0-9a-f]+")


def stem(prefix: object, namespace: str) -> str:
    """Return what all names of a namespace begin with, and no name of another one.

    The namespace is percent-encoded, so that no letter of it is a separator, a pattern or a blank.

    Raises:
        ConfigurationError: the prefix is not usable.
    """
    fine = isinstance(prefix, str) and re.fullmatch(rf"[!-z|]{{0,{LONGEST_PREFIX}}}", prefix) is not None
    if not fine:
        expected = f"up to {LONGEST_PREFIX} printable ASCII characters without blanks, braces and tildes"
        raise ConfigurationError("options['prefix']", prefix, expected)
    encoded = namespace.encode("utf-8", "surrogatepass")
    # a tilde is what tells a shortened label from a whole one, so it is encoded itself
    label = quote(encoded, safe="").replace("~", "%7E")
    if len(label) > LONGEST_LABEL:
        label = f"{label[: LONGEST_LABEL // 2]}~{blake2b(encoded, digest_size=16).hexdigest()}"
    return f"{prefix}{label}:"


def short(key: str) -> str:
    """Return a key as it can be part of a name of bounded length; a long or unusual one is digested."""
    if len(key) <= LONGEST_KEY and HEXADECIMAL.fullmatch(key):
        return key
    return f"~{blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=32).hexdigest()}"
