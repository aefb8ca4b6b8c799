"""The doctor looks at an installation and its stores, and says what is wrong and what to do."""

from __future__ import annotations

import os
import stat
import sys
import sysconfig
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cachewright.config import Settings, cache_directory, user_data_directory
from cachewright.engine import EngineConfig
from cachewright.errors import CachewrightError, UnsupportedByEngineError
from cachewright.factory import open_cache
from cachewright.registry import default_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from cachewright.inventory import AuditGroup

WAL_RESET_FIXED = (3, 51, 3)
"""First SQLite without a rare bug in resetting the write-ahead log (sqlite.org/wal.html)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: "ok", "note" (works, but could be better) or "problem".
        subject: what was looked at.
        finding: what was found.
        advice: what to do; empty if nothing.
    """

    level: Literal["ok", "note", "problem"]
    subject: str
    finding: str
    advice: str = ""


def examine() -> list[Finding]:
    """Return findings about interpreter, plugins, settings, directories and engines."""
    findings = [_interpreter()]
    try:
        settings = Settings.resolve()
    except CachewrightError as error:  # without settings nothing else can be looked at
        return [
            *findings,
            Finding(level="problem", subject="settings", finding=str(error), advice="correct it"),
        ]
    findings.extend(_plugins())
    findings.append(_signing(settings))
    for subject, find in (("cache directory", cache_directory), ("key directory", user_data_directory)):
        findings.append(_directory(subject, find, settings))
    findings.extend(_engines())
    findings.extend(_stores(settings))
    return findings


def examine_caches(names: Iterable[str], *, oversized: str | int = "16MB", **options: Any) -> list[Finding]:
    """Return what an audit finds in each of the caches of these names.

    Args:
        names: as given to ``open_cache`` or, for a function, ``module.qualname`` or its ``name=``.
        oversized: size from which an entry is called oversized.
        **options: how to open them; see :func:`~cachewright.open_cache`.
    """
    return [finding for name in names for finding in _audited(name, oversized, options)]


def _stores(settings: Settings) -> Iterator[Finding]:
    """Audit whatever this user keeps on disk, in the directory that is used unless another is given."""
    for name, info in default_registry().engines().items():
        ability = info.capabilities
        if not (ability.persistent and ability.sync and ability.scope == "host"):
            continue
        try:
            path = cache_directory(settings) / name
            if not path.is_dir():
                continue
            engine = info.load()(EngineConfig(path=path))
            try:
                names = engine.namespaces()
            finally:
                engine.close()
        except UnsupportedByEngineError:
            advice = f"name the caches to look at: cachewright doctor NAME --engine {name}"
            yield Finding(
                level="ok", subject=f"store {name}", finding="cannot list its caches", advice=advice
            )
            continue
        except CachewrightError as error:
            advice = "correct it, or remove the directory"
            yield Finding(level="problem", subject=f"store {name}", finding=str(error), advice=advice)
            continue
        # namespaces with a NUL hold what the core keeps beside the entries of others
        visible = [namespace for namespace in names if "\0" not in namespace]
        yield from examine_caches(visible, engine=name, settings=settings)


def _audited(name: str, oversized: str | int, options: dict[str, Any]) -> Iterator[Finding]:
    subject = f"cache {name}"
    try:
        with open_cache(name, on_engine_error="raise", **options) as cache:
            report = cache.audit(oversized=oversized)
    except CachewrightError as error:
        yield Finding(
            level="problem", subject=subject, finding=str(error), advice="open it as its program does"
        )
        return
    if not report.entries:
        yield Finding(level="ok", subject=subject, finding=f"no entries on {report.engine}")
    for group in report.groups:
        yield Finding(
            level=_level(group),
            subject=subject,
            finding=f"{group.entries} of {report.entries} entries, {group.size} bytes: {_described(group)}",
            advice=group.advice,
        )


def _level(group: AuditGroup) -> Literal["ok", "note", "problem"]:
    if group.about == "unreadable":
        return "problem"
    return "note" if group.advice else "ok"


def _described(group: AuditGroup) -> str:
    return f"unreadable ({group.name})" if group.about == "unreadable" else group.name


def _interpreter() -> Finding:
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    version = sys.version.split()[0]
    if optimised or os.name == "nt":
        return Finding(
            level="ok", subject="python", finding=f"{version}, built with profile-guided optimisation"
        )
    return Finding(
        level="note",
        subject="python",
        finding=f"{version}, built without profile-guided optimisation",
        advice="an optimised build runs everything 10-30 % faster",
    )


def _plugins() -> Iterator[Finding]:
    for row in default_registry().plugins():
        subject = f"plugin {row.name}"
        if row.state == "ok":
            yield Finding(level="ok", subject=subject, finding=f"{row.distribution} {row.version}".strip())
        elif row.state == "disabled":
            yield Finding(level="note", subject=subject, finding=row.reason)
        else:
            yield Finding(
                level="problem",
                subject=subject,
                finding=row.reason,
                advice=f"install what it needs, or pip uninstall {row.distribution or row.name}",
            )


def _signing(settings: Settings) -> Finding:
    if settings.signing_keys is not None:
        from cachewright.keyring import KeyRing  # noqa: PLC0415 - imports hmac, for who has keys

        try:
            KeyRing.parse(settings.signing_keys, origin=settings.origin("signing_keys"))
        except CachewrightError as error:
            return Finding(level="problem", subject="signing keys", finding=str(error), advice="correct them")
        return Finding(
            level="ok", subject="signing keys", finding="set: entries on shared stores are authenticated"
        )
    return Finding(
        level="note",
        subject="signing keys",
        finding="not set: shared stores hold plain data only",
        advice="set CACHEWRIGHT_SIGNING_KEYS to store pickled objects there",
    )


def _directory(subject: str, find: Callable[[Settings], Path], settings: Settings) -> Finding:
    try:
        path = find(settings)
    except CachewrightError as error:
        return Finding(level="problem", subject=subject, finding=str(error), advice="set the directory")
    try:
        status = path.lstat()
    except FileNotFoundError:
        return Finding(level="ok", subject=subject, finding=f"{path}: not there yet, made on first use")
    except OSError as error:
        return Finding(
            level="problem", subject=subject, finding=f"{path}: {error.strerror}", advice="make it readable"
        )
    if not stat.S_ISDIR(status.st_mode):
        return Finding(
            level="problem", subject=subject, finding=f"{path}: not a directory", advice="move it away"
        )
    open_to_others = hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022)
    if open_to_others:
        return Finding(
            level="problem",
            subject=subject,
            finding=f"{path}: others can write to it",
            advice=f"chmod 700 {path}, if it is yours",
        )
    return Finding(level="ok", subject=subject, finding=str(path))


def _engines() -> Iterator[Finding]:
    unavailable = default_registry().unavailable()
    for name, info in default_registry().engines().items():
        if name in unavailable or name == "null":
            continue
        if not info.capabilities.sync:
            yield Finding(
                level="ok", subject=f"engine {name}", finding="for event loops only, not tried here"
            )
            continue
        subject = f"engine {name}"
        try:
            with open_cache("cachewright doctor", engine=name, on_engine_error="raise") as cache:
                cache.set("probe", ("value", 1, None))
                answer = cache.get("probe")
                cache.delete("probe")
        except CachewrightError as error:
            yield Finding(
                level="note", subject=subject, finding=str(error), advice="not used until that is changed"
            )
            continue
        except Exception as error:  # noqa: BLE001 - an engine is foreign code, and what it does wrong is the finding
            yield Finding(
                level="problem",
                subject=subject,
                finding=f"{type(error).__name__}: {error}",
                advice="report it to the author of the plugin",
            )
            continue
        if answer != ("value", 1, None):
            yield Finding(
                level="problem",
                subject=subject,
                finding=f"stored a tuple, got {answer!r}",
                advice="do not use it",
            )
        elif name == "sqlite":
            yield _sqlite(subject)
        else:
            yield Finding(level="ok", subject=subject, finding="stores and finds")


def _sqlite(subject: str) -> Finding:
    from sqlite3 import sqlite_version, sqlite_version_info  # noqa: PLC0415 - loaded by its engine already

    if sqlite_version_info >= WAL_RESET_FIXED:
        return Finding(level="ok", subject=subject, finding=f"stores and finds; SQLite {sqlite_version}")
    return Finding(
        level="note",
        subject=subject,
        finding=f"stores and finds; SQLite {sqlite_version} has a rare bug in its write-ahead log",
        advice=f"a damaged index is set aside and rebuilt; {'.'.join(map(str, WAL_RESET_FIXED))} mends it",
    )
