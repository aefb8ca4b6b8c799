"""Other processes: forked children, readers beside the writer, and writers killed half-way."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cachewright.engine import EngineConfig
from cachewright.entry import MISSING, SYSTEM_CLOCK
from cachewright.testing.engine_contract import EngineContract, EngineOpener, content

CHILD = Path(__file__).with_name("child.py")
PATIENCE = 300.0


class ProcessContract(EngineContract):
    """What the record says about forks, hosts and crashes."""

    stakes: ClassVar[str] = "a crash or a fork would lose, damage or mix up what is stored"

    def test_a_forked_child_can_use_the_engine(self, open_engine: EngineOpener) -> None:
        """A child forked beside writing threads reads and writes, never hangs, and harms no parent."""
        self.needs("fork_safe")
        self.needs("sync")
        if not hasattr(os, "fork"):
            pytest.skip("this platform has no fork")
        open_engine()
        assert self._run("fork_beside_writers", open_engine.config) == "ok"

    def test_another_process_sees_what_was_written(self, open_engine: EngineOpener) -> None:
        """A process that opens the same store finds entries of this one, and this one finds its own."""
        if self.info.capabilities.scope == "process":
            pytest.skip(f"engine {self.info.name!r} does not declare a scope beyond the process")
        engine = open_engine.open(replace(open_engine.config, clock=SYSTEM_CLOCK))
        keys, values = self._samples(0)
        engine.set(keys[0], values[0], size=self.size(values[0]))
        assert self._run("read_and_write", open_engine.config) == "ok"
        assert self.matches(engine.get(keys[1]), values[1])

    def test_a_writer_killed_half_way_leaves_old_or_new(self, open_engine: EngineOpener) -> None:
        """After a writer was killed in mid-write the store opens and holds one whole value or the other."""
        self.needs("persistent")
        self.needs_bytes()
        keys, values = self._samples(200_000)
        whole = [b"".join(value) for value in values[:2]]
        config = replace(open_engine.config, clock=SYSTEM_CLOCK)
        open_engine.open(config)
        for round_, seconds in enumerate((0.003, 0.0071, 0.011, 0.0173, 0.0237, 0.0311)):
            self._kill_after(seconds, config)
            engine = open_engine.open(config)
            assert content(engine.get(keys[0])) in whole
            assert engine.get(keys[1]) is MISSING
            if self.info.capabilities.scan:
                assert list(engine.keys()) == [keys[0]]
            value = self.put(engine, keys[2], round_)
            assert self.matches(engine.get(keys[2]), value)
            engine.delete(keys[2])
            engine.close()

    def test_an_acknowledged_write_outlives_its_writer(self, open_engine: EngineOpener) -> None:
        """Whatever set has returned True for is there after its process was killed a moment later."""
        self.needs("persistent")
        self.needs_bytes()
        keys = [self.key(number) for number in range(2000)]
        config = replace(open_engine.config, clock=SYSTEM_CLOCK)
        acknowledged = 0
        for seconds in (0.011, 0.031, 0.053):
            engine = open_engine.open(config)
            engine.clear()
            engine.close()
            done = self._start("acknowledge_until_killed", config, keys, [seconds])
            assert done.returncode == -signal.SIGALRM, self._report(done)
            told = done.stdout.count(b".")
            engine = open_engine.open(config)
            for number in range(told):
                assert content(engine.get(keys[number])) == b"%d" % number
            engine.close()
            acknowledged += told
        assert acknowledged, "no write was acknowledged within 50 ms"

    def test_a_process_killed_while_it_empties_leaves_whole_entries(self, open_engine: EngineOpener) -> None:
        """After a kill amid clear, set_many and delete_many each entry is whole or gone, and all works."""
        self.needs("persistent")
        self.needs_bytes()
        keys = [self.key(number) for number in range(30)]
        values = [self.value(number, key=key, length=3000) for number, key in enumerate(keys)]
        config = replace(open_engine.config, clock=SYSTEM_CLOCK)
        open_engine.open(config)
        for seconds in (0.0071, 0.0173, 0.0311):
            done = self._start("empty_until_killed", config, keys, [*values, seconds])
            assert done.returncode == -signal.SIGALRM, self._report(done)
            engine = open_engine.open(config)
            found = engine.get_many(keys)
            assert all(content(found[key]) == b"".join(values[keys.index(key)]) for key in found)
            if self.info.capabilities.scan:
                assert set(engine.keys()) == set(found)
                assert engine.count() == len(found)
            engine.clear()
            value = self.put(engine, keys[0], 1)
            assert self.matches(engine.get(keys[0]), value)
            engine.close()

    def test_processes_never_see_another_keys_value(self, open_engine: EngineOpener) -> None:
        """Three processes that set, get and delete the same keys find values of those keys, whole."""
        self._needs_sharing()
        open_engine()
        keys = [self.key(number) for number in range(8)]
        values = [self.value(1, key=key, length=20_000) for key in keys]
        assert self._together("work_beside_others", open_engine.config, keys, values) == ["ok"] * 3

    def test_processes_compare_and_set_in_turn(self, open_engine: EngineOpener) -> None:
        """Three processes that count to fifty each by compare_and_set have counted to 150 together."""
        self._needs_sharing()
        self.needs("compare_and_set")
        engine = open_engine.open(replace(open_engine.config, clock=SYSTEM_CLOCK))
        key = self.key(1)
        assert self._together("count_to_fifty", open_engine.config, [key], []) == ["ok"] * 3
        assert content(engine.get(key)) == b"150"

    def test_a_forked_child_that_closes_harms_no_parent(self, open_engine: EngineOpener) -> None:
        """Children that close the engine they inherited, or just end, leave the parent's as it was."""
        self.needs("fork_safe")
        self.needs("sync")
        if not hasattr(os, "fork"):
            pytest.skip("this platform has no fork")
        open_engine()
        assert self._run("fork_and_close", open_engine.config) == "ok"

    def test_an_interpreter_ends_quietly_with_an_open_engine(self, open_engine: EngineOpener) -> None:
        """A process that never closes its engine ends by itself, with exit code 0 and not a word."""
        open_engine()
        done = self._start("write_and_end", open_engine.config, *self._samples(0))
        assert (done.returncode, done.stderr.decode()) == (0, "")
        assert done.stdout == b"ok"

    def _needs_sharing(self) -> None:
        if self.info.capabilities.scope == "process":
            pytest.skip(f"engine {self.info.name!r} does not declare a scope beyond the process")
        self.needs_bytes()

    def _samples(self, length: int) -> tuple[list[Any], list[Any]]:
        keys = [self.key(number) for number in range(8)]
        if self.info.capabilities.holds == "objects":
            return keys, [f"value {number}" for number in range(2)]
        return keys, [self.value(number, length=length) for number in range(2)]

    def _run(self, job: str, config: EngineConfig) -> str:
        done = self._start(job, config, *self._samples(0))
        return done.stdout.decode() or self._report(done)

    def _together(self, job: str, config: EngineConfig, keys: list[Any], values: list[Any]) -> list[str]:
        """Return what each of three processes has printed that did a job at the same time."""
        with ThreadPoolExecutor(3) as pool:
            runs = [pool.submit(self._start, job, config, keys, values) for _ in range(3)]
        return [run.result().stdout.decode() or self._report(run.result()) for run in runs]

    def _start(
        self, job: str, config: EngineConfig, keys: list[Any], values: list[Any]
    ) -> subprocess.CompletedProcess[bytes]:
        config = replace(config, clock=SYSTEM_CLOCK)  # a manual clock cannot be shared with a process
        return subprocess.run(
            [sys.executable, "-P", str(CHILD)],
            input=pickle.dumps((sys.path, pickle.dumps((job, self.info, config, keys, values)))),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )

    def _report(self, done: subprocess.CompletedProcess[bytes]) -> str:
        return f"exit code {done.returncode}: {done.stderr.decode()[-2000:]}"

    def _kill_after(self, seconds: float, config: EngineConfig) -> None:
        keys, values = self._samples(200_000)
        done = self._start("write_until_killed", config, keys, [*values, seconds])
        assert done.returncode == -signal.SIGALRM, self._report(done)
