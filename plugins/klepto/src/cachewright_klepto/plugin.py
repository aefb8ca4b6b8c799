"""The records by which the klepto engines and key maker are announced; imports no backend library."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.hookspecs import hookimpl
from cachewright.keymaker import KeyMakerInfo

_STORED: Final = Capabilities(
    holds="bytes", scope="host", persistent=True, blocking=True, compare_and_set=True
)

KLEPTO: Final = EngineInfo(
    name="klepto",
    target="cachewright_klepto.engine:KleptoEngine",
    capabilities=_STORED,
    costs=Costs(
        get=((64, 3e-6), (16_384, 1.5e-5), (100_000, 8.5e-5), (1_000_000, 1.1e-3), (10_000_000, 3.5e-2)),
        set=((64, 3e-4), (16_384, 1e-3), (100_000, 3e-3), (1_000_000, 2e-2), (10_000_000, 1.6e-1)),
        miss=2e-6,
        open=3e-4,
    ),
    requires=("klepto",),
    install="cachewright-klepto",
    summary="a JSON file per entry, written by a directory archive of klepto",
)

KLEPTO_FILE: Final = EngineInfo(
    name="klepto-file",
    target="cachewright_klepto.file_engine:KleptoFileEngine",
    capabilities=replace(_STORED, many=True),
    costs=Costs(
        # in a file without other entries; each of those adds its size to every write
        get=((64, 2e-6), (16_384, 1.1e-5), (100_000, 7e-5), (1_000_000, 7e-4), (10_000_000, 1.4e-2)),
        set=((64, 1.2e-3), (100_000, 1.5e-3), (1_000_000, 1.2e-2), (10_000_000, 1.7e-1)),
        miss=2e-6,
        open=2e-4,
    ),
    requires=("klepto",),
    install="cachewright-klepto",
    summary="one JSON file for all entries, written anew by klepto with every change",
    automatic=False,
)

KLEPTO_SQLTABLE: Final = EngineInfo(
    name="klepto-sqltable",
    target="cachewright_klepto.sqltable_engine:KleptoSqltableEngine",
    capabilities=replace(_STORED, max_value_size=480_000_000),  # SQLite's limit is a billion digits
    costs=Costs(
        get=((64, 7e-5), (16_384, 9e-5), (100_000, 2.6e-4), (1_000_000, 2.3e-3), (10_000_000, 6e-2)),
        set=((64, 2.5e-4), (16_384, 3.7e-4), (100_000, 7e-4), (1_000_000, 5e-3), (10_000_000, 8e-2)),
        miss=7e-5,
        open=3e-3,
    ),
    requires=("klepto", "sqlalchemy"),
    install="cachewright-klepto[sqltable]",
    summary="a table of text in an SQLite file, kept by klepto through SQLAlchemy",
)

KLEPTO_HDF: Final = EngineInfo(
    name="klepto-hdf",
    target="cachewright_klepto.hdf_engine:KleptoHdfEngine",
    capabilities=replace(_STORED, many=True),
    costs=Costs(
        # as for klepto-file
        get=((64, 4e-4), (100_000, 5e-4), (1_000_000, 1.1e-3), (10_000_000, 4e-3)),
        set=((64, 5e-3), (100_000, 5e-3), (1_000_000, 9e-3), (10_000_000, 4.5e-2)),
        miss=2e-4,
        open=7e-4,
    ),
    requires=("klepto", "h5py"),
    install="cachewright-klepto[hdf]",
    summary="one HDF5 file for all entries, copied by every change, in a private directory",
    automatic=False,
)

KLEPTO_DICT: Final = EngineInfo(
    name="klepto-dict",
    target="cachewright_klepto.dict_engine:KleptoDictEngine",
    capabilities=Capabilities(holds="objects", compare_and_set=True),
    costs=Costs(get=((64, 9e-8),), set=((64, 1.3e-6),), miss=6e-8),
    requires=("klepto",),
    install="cachewright-klepto",
    summary="entries in this process, in a dict archive of klepto, without bounds",
)

KLEPTO_KEYS: Final = KeyMakerInfo(
    name="klepto",
    target="cachewright_klepto.keymaker:KleptoKeyMaker",
    requires=("klepto",),
    install="cachewright-klepto",
    summary="the canonical keys, after klepto has rounded floats to a tolerance",
)


@hookimpl
def cachewright_engines() -> list[EngineInfo]:
    """The engines over klepto's archives."""
    return [KLEPTO, KLEPTO_FILE, KLEPTO_SQLTABLE, KLEPTO_HDF, KLEPTO_DICT]


@hookimpl
def cachewright_keymakers() -> list[KeyMakerInfo]:
    """The key maker that rounds as klepto does."""
    return [KLEPTO_KEYS]
