"""The kit for authors of synchronous engines: subclass it, name the record, run pytest."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import ClassVar

from hypothesis.stateful import run_state_machine_as_test

from cachewright.engine import Engine
from cachewright.testing.clock import ManualClock
from cachewright.testing.engine_bounds import BoundContract
from cachewright.testing.engine_caches import CacheContract
from cachewright.testing.engine_contract import EngineContract, EngineOpener
from cachewright.testing.engine_expiry import ExpiryContract
from cachewright.testing.engine_files import FileContract
from cachewright.testing.engine_keys import KeyContract
from cachewright.testing.engine_machine import MACHINE_SETTINGS, EngineMachine
from cachewright.testing.engine_namespaces import NamespaceContract
from cachewright.testing.engine_objects import ObjectContract
from cachewright.testing.engine_payloads import PayloadContract
from cachewright.testing.engine_processes import ProcessContract
from cachewright.testing.engine_races import RaceContract
from cachewright.testing.engine_reader import ReaderContract
from cachewright.testing.engine_record import RecordContract
from cachewright.testing.engine_servers import ServerContract
from cachewright.testing.engine_sharing import SharingContract
from cachewright.testing.engine_stores import StoreContract
from cachewright.testing.engine_threads import ThreadContract
from cachewright.testing.engine_values import ValueContract


class MachineContract(EngineContract):
    """Random operations in random order, against a model."""

    stakes: ClassVar[str] = "some order of operations leads to a wrong answer"

    def test_random_operations_match_a_dict(self, open_engine: EngineOpener, clock: ManualClock) -> None:
        """Whatever the order of operations, an engine without bounds is a dict with deadlines."""
        self._play(open_engine, clock, maxsize=None)

    def test_random_operations_match_a_dict_that_forgets(
        self, open_engine: EngineOpener, clock: ManualClock
    ) -> None:
        """A bounded engine may forget an entry, but returns nothing else and brings nothing back."""
        self.needs("max_entries")
        self._play(open_engine, clock, maxsize=3)

    def _play(self, open_engine: EngineOpener, clock: ManualClock, *, maxsize: int | None) -> None:
        def open_empty() -> Engine:
            namespace = f"machine-{uuid.uuid4().hex}"
            return open_engine.open(replace(open_engine.config, namespace=namespace, maxsize=maxsize))

        contract = self

        class Machine(EngineMachine):
            def __init__(self) -> None:
                super().__init__(contract, open_empty, clock, bounded=maxsize is not None)

        run_state_machine_as_test(Machine, settings=MACHINE_SETTINGS)


class EngineKit(
    ValueContract,
    PayloadContract,
    ObjectContract,
    MachineContract,
    KeyContract,
    NamespaceContract,
    ExpiryContract,
    BoundContract,
    ReaderContract,
    RaceContract,
    ThreadContract,
    StoreContract,
    FileContract,
    ServerContract,
    ProcessContract,
    CacheContract,
    SharingContract,
    RecordContract,
):
    """Every promise of :class:`~cachewright.engine.Engine` as a test.

    Example, a whole test file::

        from cachewright.testing import EngineKit
        from cachewright_shelf.plugin import SHELF

        class TestShelf(EngineKit):
            info = SHELF

    What the record does not declare is skipped by name. Override ``make_config`` for a url or for
    options, set ``clocked_by_server`` where a server's clock decides, and declare known failures in
    ``expected_failures``.
    """
