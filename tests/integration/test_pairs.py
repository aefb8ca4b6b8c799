"""Every engine of bytes with every serializer, codec and cipher, in both colours, decorated and direct."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
from typing import Any

import pytest

from cachewright import MISSING, cached, open_async_cache, open_cache
from cachewright.config import Settings
from cachewright.registry import default_registry
from cachewright.testing.sameness import same

KEYS = "ab" * 32
REGISTRY = default_registry()
ENGINES = {info.name: info for info in REGISTRY.engines().values() if info.capabilities.holds == "bytes"}
pytestmark = pytest.mark.filterwarnings("ignore:engine 'diskcache")

COLOURS = [
    (info.name, colour)
    for info in ENGINES.values()
    for colour in ("sync", "async")
    if info.capabilities.sync or colour == "async"
]


def text() -> Any:
    return "text \ud800 " * 3


def table() -> Any:
    import pandas as pd

    return pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=pd.Index([3, 4], name="i"))


def masked() -> Any:
    import numpy as np

    return np.ma.MaskedArray([1.0, 2.0], mask=[False, True], fill_value=7.0)


def array() -> Any:
    import numpy as np

    return np.arange(20_000, dtype=">i4").reshape(100, 200, order="F")


def tensor() -> Any:
    import torch

    return torch.arange(6).reshape(2, 3)


def variables() -> Any:
    from cachewright_dill import pack

    return pack({"a": [1]})[0]


DOCUMENT = {"name": "x", "list": [1, 2.5, None, True, "y"], "nested": {"k": []}}

SPECIMENS = {
    "raw": lambda: b"bytes" * 100,
    "text": text,
    "array": array,
    "data": lambda: (1, [2.5, {"a": {3}}], None),
    "pickle": lambda: functools.partial(int, base=2),
    "dill": lambda: (1, {"a": [2]}),
    "dill-snapshot": variables,
    "joblib": lambda: {"a": [1, (2, "x")]},
    "arrays": masked,
    "torch": tensor,
    "arrow": table,
    "msgspec": lambda: DOCUMENT,
    "msgspec-json": lambda: DOCUMENT,
}
"""A value for every serializer."""

CODECS = (None, *sorted(REGISTRY.codecs()))


def alike(got: Any, value: Any) -> bool:
    """Whether a value came back; what compares by identity is compared by what it does or holds."""
    if isinstance(value, functools.partial):
        return got("101") == value("101") == 5
    if type(value).__name__ == "Variables":
        return same(got.values(), value.values())
    if type(value).__name__ == "Tensor":
        return bool((got == value).all()) and got.dtype == value.dtype
    return same(got, value)


@pytest.fixture(params=COLOURS, ids="-".join)
def place(request, tmp_path, address_of):
    """Return colour and arguments that open a cache on one engine, with a store of its own."""
    engine, colour = request.param
    settings = Settings(
        dir=tmp_path / "store", data_dir=tmp_path / "keys", timeout=5,
        signing_keys=KEYS if ENGINES[engine].capabilities.scope == "network" else None,
    )  # fmt: skip
    options = {"engine": engine, "settings": settings}
    url = address_of(engine)
    return colour, options if url is None else options | {"url": url}


def name_of(request):
    return f"{request.node.name}-{os.getpid()}"


def round_trips(colour: str, options: dict[str, Any], name: str, value: Any) -> list[Any]:
    """Return what a cache gives back, and what two calls of a decorated function do."""
    calls: list[int] = []

    def sync() -> list[Any]:
        @cached(name=name + "-call", **options)
        def load(x: int) -> Any:
            calls.append(x)
            return value

        with open_cache(name, **options) as cache:
            cache.set("k", value)
            got = [cache.get("k", MISSING), load(1), load(1)]
            cache.clear()
            load.cache_clear()
            return got

    async def awaited() -> list[Any]:
        @cached(name=name + "-call", **options)
        async def load(x: int) -> Any:
            calls.append(x)
            return value

        async with open_async_cache(name, **options) as cache:
            await cache.set("k", value)
            got = [await cache.get("k", MISSING), await load(1), await load(1)]
            await cache.clear()
            await load.cache_clear()
            return got

    answers = sync() if colour == "sync" else asyncio.run(awaited())
    assert calls == [1], "the second call was a hit"
    return answers


def test_every_serializer_has_a_specimen():
    """A serializer that is installed and not tried here would go unnoticed."""
    assert set(REGISTRY.serializers()) <= set(SPECIMENS)


@pytest.mark.parametrize("serializer", sorted(REGISTRY.serializers()))
def test_what_a_serializer_takes_comes_back_from_every_engine(serializer, place, request):
    """By the serializer that was asked for: the same value, from a hit of a function and from the cache."""
    colour, options = place
    value = SPECIMENS[serializer]()
    for got in round_trips(colour, options | {"serializer": serializer}, name_of(request), value):
        assert alike(got, value)


@pytest.mark.parametrize(("codec", "encrypt"), list(itertools.product(CODECS, (False, True))))
def test_compressed_and_encrypted_entries_come_back_from_every_engine(codec, encrypt, place, request):
    """Also both at once."""
    colour, options = place
    value = {"text": "compressible " * 2000, "number": 1}
    options |= {"compress": codec, "encrypt": encrypt}
    for got in round_trips(colour, options, name_of(request), value):
        assert same(got, value)
