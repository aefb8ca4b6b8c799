"""A project is a new plugin's folder: a complete package, rendered from the template of its kind."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from cachewright import __version__
from cachewright.builtin import plugin as builtin
from cachewright.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

Kind: TypeAlias = Literal["engine", "serializer", "keymaker"]

Parts: TypeAlias = tuple[str, ...]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST = 32
_SUFFIX = ".template"

_FACTS: Final[dict[Kind, dict[str, str]]] = {
    "engine": {
        "noun": "engine",
        "setting": "engine",
        "summary": "objects of this process in a dict",
        "example": (
            "from cachewright import cached\n\n\n"
            '@cached(engine="{name}")\n'
            "def squared(number: int) -> int:\n    return number * number"
        ),
        "abilities": (
            "| holds | the objects themselves, in this process |\n"
            "| bounds | none |\n"
            "| ttl | kept by cachewright |\n"
            "| threads, fork | safe |"
        ),
    },
    "serializer": {
        "noun": "serializer",
        "setting": "serializer",
        "summary": "plain documents as JSON",
        "example": (
            "from cachewright import cached\n\n\n"
            '@cached(persist=True, serializer="{name}")\n'
            'def described(number: int) -> dict[str, int]:\n    return {{"square": number * number}}'
        ),
        "abilities": (
            "| stores | dicts with text keys, lists, text, numbers, truth values, None |\n"
            "| payload | JSON, readable by other programs |\n"
            "| executes | nothing |"
        ),
    },
    "keymaker": {
        "noun": "key maker",
        "setting": "key_maker",
        "summary": "digests of plain arguments",
        "example": (
            "from cachewright import cached\n\n\n"
            '@cached(persist=True, key_maker="{name}")\n'
            "def squared(number: int) -> int:\n    return number * number"
        ),
        "abilities": (
            "| keys | None, truth values, numbers, text, bytes; tuples, lists, dicts and sets of them |\n"
            "| digest | BLAKE2b, 256 bits |"
        ),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A plugin project that is to be made.

    Attributes:
        name: of the plugin and of what it provides, normalised: ``a-b`` is ``a_b``.
        kind: what it provides.
        folder: where it is made.
    """

    name: str
    kind: Kind
    folder: Path

    @classmethod
    def of(cls, name: str, *, kind: Kind = "engine", directory: str | os.PathLike[str] = ".") -> Project:
        """Return the project for a name as people write it, to be made in a folder of ``directory``.

        Raises:
            ConfigurationError: the name is none that a plugin can have.
        """
        plain = name.removeprefix("cachewright-").removeprefix("cachewright_").replace("-", "_")
        if not _NAME.fullmatch(plain) or len(plain) > _LONGEST:
            expected = (
                f"lower-case letters, digits and single hyphens, a letter first, at most {_LONGEST}"
                " characters, as in my-engine"
            )
            raise ConfigurationError("NAME", name, expected)
        if plain in _taken(kind):
            raise ConfigurationError("NAME", name, f"another one, for {plain!r} is built into cachewright")
        return cls(name=plain, kind=kind, folder=Path(directory) / f"cachewright-{plain.replace('_', '-')}")

    @property
    def distribution(self) -> str:
        """What it is published as."""
        return f"cachewright-{self.name.replace('_', '-')}"

    @property
    def package(self) -> str:
        """What it is imported as."""
        return f"cachewright_{self.name}"

    def make(self) -> list[Path]:
        """Write every file of the project, all or none, and return them in order.

        Raises:
            ConfigurationError: the folder exists already, or the one that it is to be made in does not.
        """
        if self.folder.exists() or self.folder.is_symlink():
            raise ConfigurationError("directory", str(self.folder), "a folder that does not exist yet")
        parent = self.folder.parent
        if not parent.is_dir():
            raise ConfigurationError("--directory", str(parent), "a folder that exists")
        making = Path(tempfile.mkdtemp(prefix=f".{self.folder.name}-", dir=parent))
        try:
            for path, text in self.files().items():
                target = making / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8", newline="\n")
            making.chmod(0o755)
            making.rename(self.folder)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def files(self) -> dict[Path, str]:
        """Return the text of every file, by its path in the folder."""
        facts = self._facts()
        rendered: dict[Path, str] = {}
        for part in ("common", self.kind):
            for parts, source in _sources(files("cachewright.scaffold").joinpath("template", part)):
                path = Path(*(self._renamed(name) for name in parts))
                rendered[path] = Template(source.read_text(encoding="utf-8")).substitute(facts)
        return rendered

    def _renamed(self, name: str) -> str:
        if name.startswith("dot-"):
            name = f".{name.removeprefix('dot-')}"
        return name.removesuffix(_SUFFIX).replace("NAME", self.name)

    def _facts(self) -> dict[str, str]:
        own = _FACTS[self.kind]
        major, minor = __version__.split(".")[:2]
        return {
            "name": self.name,
            "NAME": self.name.upper(),
            "Name": "".join(part.capitalize() for part in self.name.split("_")),
            "distribution": self.distribution,
            "package": self.package,
            "versions": f">={major}.{minor},<{major}.{int(minor) + 1}",
            # third parties have 0x40-0x7F for data; two of them seldom meet in one
            "code": f"0x{0x40 + zlib.crc32(self.name.encode()) % 0x40:02X}",
            "kind": own["noun"],
            "setting": own["setting"],
            "summary": own["summary"],
            "example": own["example"].format(name=self.name),
            "abilities": own["abilities"],
        }


def _taken(kind: Kind) -> set[str]:
    if kind == "engine":
        return {info.name for info in builtin.cachewright_engines()}
    if kind == "serializer":
        return {info.name for info in builtin.cachewright_serializers()}
    return {info.name for info in builtin.cachewright_keymakers()}


def _sources(folder: Traversable, above: Parts = ()) -> Iterator[tuple[Parts, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _sources(entry, (*above, entry.name))
        elif entry.name.endswith(_SUFFIX):  # an editor may leave others
            yield (*above, entry.name), entry
