"""Other processes: forked children, readers beside the writer, and writers killed half-way."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cachewright.engine import EngineConfig
from cachewright.entry import MISSING, SYSTEM_CLOCK
from cachewright.testing.engine_contract import EngineContract, EngineOpener, content

CHILD = Path(__file__).with_name("child.py")
PATIENCE = 300.0


class ProcessContract(EngineContract):
    """What the record says about forks, hosts and crashes."""

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

    def _samples(self, length: int) -> tuple[list[Any], list[Any]]:
        keys = [self.key(number) for number in range(8)]
        if self.info.capabilities.holds == "objects":
            return keys, [f"value {number}" for number in range(2)]
        return keys, [self.value(number, length=length) for number in range(2)]

    def _run(self, job: str, config: EngineConfig) -> str:
        done = self._start(job, config, *self._samples(0))
        return done.stdout.decode() or f"exit code {done.returncode}: {done.stderr.decode()[-2000:]}"

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

    def _kill_after(self, seconds: float, config: EngineConfig) -> None:
        keys, values = self._samples(200_000)
        done = self._start("write_until_killed", config, keys, [*values, seconds])
        assert done.returncode == -signal.SIGALRM, (
            f"the writer ended by itself: {done.stderr.decode()[-2000:]}"
        )
