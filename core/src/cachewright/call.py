"""A call is one invocation of a function, bound to its signature: what a key maker makes a key from."""

from __future__ import annotations


class Call:
    """One call, bound to its function's signature.

    A plain slotted class: one is built for every look-up on an engine of bytes.

    Attributes:
        function: ``module.qualname``, for messages; the namespace keeps functions apart.
        names: parameter names in the order of the signature, without the ignored ones; ``*`` and ``**``
            are part of the names of variadic ones.
        values: the bound arguments, defaults filled in, in the same order; ``*args`` is a tuple,
            ``**kwargs`` a tuple of (name, value) pairs sorted by name.
        typed: whether arguments of different types are different (as in functools).
    """

    __slots__ = ("function", "names", "typed", "values")

    def __init__(
        self, function: str, names: tuple[str, ...], values: tuple[object, ...], *, typed: bool = False
    ) -> None:
        self.function = function
        self.names = names
        self.values = values
        self.typed = typed
