"""Plants in a store whatever klepto could be made to execute, reads it under an audit hook, and reports.

Run as a script: ``hostile_store.py ENGINE DIRECTORY``. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cachewright_klepto.plugin import cachewright_engines

from cachewright.engine import EngineConfig
from cachewright.entry import MISSING
from cachewright.errors import EngineError

FORBIDDEN = (
    "pickle.", "import", "exec", "compile", "marshal.", "os.system", "os.exec", "os.posix_spawn", "os.fork",
    "subprocess.", "ctypes.", "socket.", "code.__new__", "function.__new__", "shutil.make",
)  # fmt: skip
KEY = "ab" * 20
GOOD = "cd" * 20


class Bomb:
    """Unpickling it writes the canary."""

    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.mkdir, (self.canary,)


def plant_dir(space: Path, bomb: bytes, source: str) -> list[Callable[[], None]]:  # noqa: C901 - a list of plants
    folder = space / "entries" / f"K_{KEY}"
    outside = space / "outside.json"
    outside.write_text('"aaaa"')

    def fresh() -> Path:
        if folder.is_symlink() or folder.is_file():
            folder.unlink()
        for path in folder.glob("*"):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        folder.mkdir(exist_ok=True)
        return folder

    def pickles() -> None:
        for name in ("output.pkl", "input.pkl", "output.json", "input.json"):
            (fresh() if name == "output.pkl" else folder).joinpath(name).write_bytes(bomb)

    def sources() -> None:
        for name in ("__init__.py", "__args__.py", "output.py", "output.json"):
            (fresh() if name == "__init__.py" else folder).joinpath(name).write_text(source)

    def as_text() -> None:
        (fresh() / "output.json").write_text(json.dumps(bomb.decode("latin-1")))

    def other_json() -> None:
        (fresh() / "output.json").write_text(json.dumps({"py/object": "os.mkdir", "py/reduce": [1]}))

    def nested() -> None:
        (fresh() / "output.json").write_text("[" * 100_000)

    def link() -> None:
        (fresh() / "output.json").symlink_to(outside)

    def pipe() -> None:
        os.mkfifo(fresh() / "output.json")

    def directory() -> None:
        (fresh() / "output.json").mkdir()

    def plain_file() -> None:
        fresh().rmdir()
        folder.write_bytes(bomb)

    return [pickles, sources, as_text, other_json, nested, link, pipe, directory, plain_file]


def plant_file(space: Path, bomb: bytes, source: str) -> list[Callable[[], None]]:
    file = space / "entries.json"

    def content(data: bytes) -> Callable[[], None]:
        def plant() -> None:
            file.unlink(missing_ok=True)
            for suffix in (".py", ".pkl"):
                file.with_suffix(suffix).write_bytes(source.encode() if suffix == ".py" else bomb)
            file.write_bytes(data)

        return plant

    def pipe() -> None:
        file.unlink(missing_ok=True)
        os.mkfifo(file)

    texts = [
        json.dumps({KEY: value}) for value in (bomb.decode("latin-1"), [1], None, {"py/object": "os.mkdir"})
    ]
    contents = [bomb, source.encode(), b"[" * 100_000, b"[]", b'"x"', *(text.encode() for text in texts)]
    return [*map(content, contents), pipe]


def plant_sqltable(space: Path, bomb: bytes, source: str) -> list[Callable[[], None]]:
    def row(value: object) -> Callable[[], None]:
        def plant() -> None:
            with sqlite3.connect(space / "entries.db") as connection:
                connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (KEY, value))
            connection.close()

        return plant

    def view() -> None:
        with sqlite3.connect(space / "entries.db") as connection:
            connection.execute("DROP TABLE entries")
            connection.execute(
                "CREATE VIEW entries AS SELECT 'ab' AS Kkey, load_extension('/tmp/x.so') AS Kval"
            )
        connection.close()

    return [row(bomb), row(source), row(171), row(None), row(bomb.decode("latin-1")), view]


def plant_hdf(space: Path, bomb: bytes, source: str) -> list[Callable[[], None]]:
    import h5py
    import numpy as np
    from h5py import h5d, h5s, h5t

    name = json.dumps(KEY).encode()
    other = space / "other.hdf5"
    with h5py.File(other, "w") as file:
        file["x"] = np.zeros(3, "u1")
    (space / "raw").write_bytes(b"aaaa")

    def node(make: Callable[[Any], None]) -> Callable[[], None]:
        def plant() -> None:
            with h5py.File(space / "entries.hdf5", "a") as file:
                if file.id.links.exists(name):
                    file.id.unlink(name)
                make(file)

        return plant

    def value(data: Any) -> Callable[[], None]:
        return node(lambda file: file.__setitem__(name, data))

    def tagged(file: Any) -> None:
        kind = h5t.create(h5t.OPAQUE, 8)
        kind.set_tag(b"NUMPY:O")
        row = h5d.create(file.id, name, kind, h5s.create_simple((1,)))
        row.write(h5s.ALL, h5s.ALL, np.array([b"A" * 8], dtype="V8"), mtype=kind)

    def elsewhere(file: Any) -> None:
        file.create_dataset(name, (4,), "u1", external=[(str(space / "raw"), 0, 4)])

    def huge(file: Any) -> None:
        file.create_dataset(name, (1 << 60,), "u1")

    return [
        value(np.void(bomb)), value([np.void(bomb)]), value([bomb.replace(b"\0", b"")]),
        value(source), value(np.zeros((2, 2), "u1")), value(np.arange(4.0)),
        node(tagged), node(elsewhere), node(huge),
        node(lambda file: file.__setitem__(name, h5py.ExternalLink(str(other), "x"))),
        node(lambda file: file.__setitem__(name, h5py.SoftLink("/x"))),
        node(lambda file: file.create_group(name)),
        node(lambda file: file.create_dataset(name, data=np.zeros(9, "u1"), compression="gzip")),
        node(lambda file: file.__setitem__(pickle.dumps(Bomb("never"), protocol=0).replace(b"/", b"_"), 1)),
    ]  # fmt: skip


PLANTS = {
    "klepto": plant_dir,
    "klepto-file": plant_file,
    "klepto-sqltable": plant_sqltable,
    "klepto-hdf": plant_hdf,
}


def main() -> None:
    """Plant, read, report."""
    name, directory = sys.argv[1:]
    canary = Path(directory) / "canary"
    sys.path.insert(0, directory)
    (info,) = [info for info in cachewright_engines() if info.name == name]
    engine = info.load()(EngineConfig(path=Path(directory) / "store"))
    for key in (KEY, GOOD):
        engine.set(key, [b"good"])
    engine.delete(KEY)
    info.load()(EngineConfig(path=Path(directory) / "store")).get(GOOD)  # imports what reading needs
    (space,) = (Path(directory) / "store").glob("*-v1/*")
    bomb = pickle.dumps(Bomb(str(canary)))
    plants = PLANTS[name](space, bomb, f"import os\nos.mkdir({str(canary)!r})\nmemo = {{}}\n")
    seen: set[str] = set()
    watching = False

    def hook(event: str, _arguments: object) -> None:
        if watching and event.startswith(FORBIDDEN):
            seen.add(event)

    sys.addaudithook(hook)
    answers = []
    for plant in plants:
        plant()
        for read in (
            lambda: engine.get(KEY),
            lambda: engine.get_many([KEY]).get(KEY, MISSING),
            lambda: [key for key in engine.keys() if key not in (KEY, GOOD)] or MISSING,
            lambda: MISSING if engine.count() <= 2 else "more",
            lambda: MISSING if engine.compare_and_set(KEY, b"x", [b"y"]) is False else "swapped",
        ):
            watching = True
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a store that was set aside says so
                try:
                    answer = "miss" if (found := read()) is MISSING else repr(found)
                except EngineError:
                    answer = "error"
            watching = False
            answers.append(answer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine.set(KEY, [b"new"])
    again = bytes(engine.get(KEY)).decode()
    report = {"answers": answers, "seen": sorted(seen), "canary": canary.exists(), "again": again}
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
