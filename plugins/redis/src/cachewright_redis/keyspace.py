"""A keyspace is the names that the entries of one namespace have on a server."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final
from urllib.parse import quote

LONGEST: Final = 80
"""Letters of a namespace that are shown in names; a longer one ends in a digest of the whole."""

GLOB: Final = re.compile(rb"([*?\[\]\\^-])")


class Keyspace:
    """Maps keys to names such as ``cw:shop.prices:3f0a...`` and back.

    Namespaces are percent-encoded, so that no letter of theirs is a separator, a pattern or a hash
    tag, and no name of one namespace begins like one of another.

    Args:
        prefix: what every name begins with.
        namespace: any text.
        kind: sets names apart from those of other ways to store the same namespace.
    """

    __slots__ = ("label", "pattern", "stem")

    def __init__(self, prefix: str, namespace: str, *, kind: str = "") -> None:
        self.label = _label(namespace)
        # a label has a tilde only before a digest, which no kind is
        self.stem = f"{prefix}{self.label}{kind and '~'}{kind}:".encode()
        self.pattern = GLOB.sub(rb"\\\1", self.stem) + b"*"

    def name(self, key: str) -> bytes:
        """Return the name under which the entry of ``key`` is stored."""
        return self.stem + key.encode("utf-8", "surrogateescape")

    def beside(self, what: str) -> bytes:
        """Return a name that belongs to the namespace and is none of an entry."""
        return self.stem[:-1] + b"~" + what.encode()

    def key(self, name: bytes) -> str:
        """Return the key whose entry is stored under ``name``."""
        return name[len(self.stem) :].decode("utf-8", "surrogateescape")


def _label(namespace: str) -> str:
    encoded = namespace.encode("utf-8", "surrogatepass")
    # a tilde is what tells a shortened label from a whole one, so it is encoded itself
    label = quote(encoded, safe="").replace("~", "%7E")
    if len(label) <= LONGEST:
        return label
    return f"{label[: LONGEST // 2]}~{blake2b(encoded, digest_size=16).hexdigest()}"
