"""Something that no stored bytes may ever call; calling it is an audit event of its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

EVENT = "cachewright.tripwire"


class Tripwire:
    """Raises the audit event :data:`EVENT` whenever it is made or restored."""

    def __new__(cls, *_: object) -> Self:
        sys.audit(EVENT, "new")
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        sys.audit(EVENT, "setstate")


def pull(*_: object) -> None:
    """Raise the audit event :data:`EVENT`."""
    sys.audit(EVENT, "pull")
