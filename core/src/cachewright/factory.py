"""The factory opens caches: the one place where settings, registry and selector meet."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cachewright._bridge import Bridge
from cachewright._lifecycle import Lifecycle
from cachewright._packing import (
    CompressingPacker,
    EntryPacker,
    Packer,
    PlainPacker,
    SealedPacker,
    SerializerChain,
)
from cachewright._spec import DEFAULT_KEY_MAKER, DEFAULT_MAXSIZE, Spec
from cachewright.aio import AsyncCache
from cachewright.cache import Cache
from cachewright.config import Settings
from cachewright.engine import EngineConfig
from cachewright.entry import SYSTEM_CLOCK, Clock
from cachewright.errors import ConfigurationError, NoEngineQualifiesError
from cachewright.explanation import Explanation
from cachewright.registry import PluginStatus, default_registry
from cachewright.selector import Ranking, choose, rejection
from cachewright.selector import rank as rank_records
from cachewright.workload import Workload, size_of

if TYPE_CHECKING:
    import os
    from typing import Literal

    from cachewright.cipher import CipherInfo
    from cachewright.codec.codecs import Codecs
    from cachewright.codec.compressor import Compressor
    from cachewright.engine import AsyncEngine, Engine, EngineInfo, Scope
    from cachewright.envelope import Envelope
    from cachewright.keymaker import KeyMaker
    from cachewright.keyring import KeyRing
    from cachewright.registry import Registry


NETWORK_TIMEOUT = 0.1
"""Seconds for an operation on a server: computing has to be better than waiting for longer."""

CLOCK_SKEW = 300.0
"""Seconds by which the clocks of hosts that share a server may differ; the server ends entries by its own."""

DEFAULT_CIPHER = "aes-gcm"
"""What ``encrypt=True`` means, whatever else is installed."""

LOCAL_TIMEOUT = 1.0
"""Seconds to wait for other processes of this host that write to the same store."""


def open_cache(
    name: str = "default",
    /,
    *,
    engine: str | None = None,
    persist: bool = False,
    scope: Scope = "process",
    ttl: Any = None,
    maxsize: int | None = None,
    max_bytes: int | str | None = None,
    policy: str | None = None,
    serializer: str | None = None,
    key_maker: str | KeyMaker = DEFAULT_KEY_MAKER,
    compress: bool | str | None = None,
    encrypt: bool | str | None = None,
    copy: Literal["value"] | None = None,
    on_engine_error: Literal["compute", "raise", "stale"] = "compute",
    url: str | None = None,
    path: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    options: dict[str, object] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Cache:
    """Open the cache ``name`` on the best installed engine, or on the one that is named.

    Args:
        name: namespace; caches of one name on one store see the same entries.
        engine: name of the engine; default: the selector picks the cheapest that meets the needs.
        persist: entries must survive the process.
        scope: who must be able to see them: "process", "host" or "network".
        ttl: how long entries live unless said otherwise: seconds, ``timedelta``, "10m"; ``None``: for ever.
        maxsize: largest number of entries; ``None`` for no bound.
        max_bytes: bound on their bytes, as a number or "512MB".
        policy: eviction policy, if the default of the engine will not do.
        serializer: name of the only serializer to use; default: the fitting one of those allowed.
        key_maker: what turns keys into those of the engine: the name of an installed key maker, or a
            :class:`~cachewright.keymaker.KeyMaker` with settings of its own.
        compress: True to compress values by the codec that pays most, where one does; a name for that codec.
        encrypt: whether entries are encrypted; default: the setting ``encrypt``.
        copy: "value" to hand out a copy of stored objects on every hit.
        on_engine_error: "compute" treats a failing engine as a miss, "raise" raises, "stale" serves what was
            last seen of it.
        url: address of the server, for engines that have one.
        path: directory of the store, for engines that keep files; implies ``persist``.
        settings: settings to use instead of those in force.
        options: settings that only the engine understands.
        clock: clocks to use; for tests.

    Raises:
        ConfigurationError: an argument makes no sense.
        UnknownEngineError: no engine of that name is installed.
        NoEngineQualifiesError: no installed engine meets the needs; says why, and what to install.
    """
    spec = Spec(
        namespace=name,
        engine=engine,
        persist=persist,
        scope=scope,
        ttl=ttl,
        maxsize=maxsize,
        max_bytes=max_bytes,
        policy=policy,
        serializer=serializer,
        key_maker=key_maker,
        compress=compress,
        encrypt=encrypt,
        copy=copy,
        on_engine_error=on_engine_error,
        url=url,
        path=path,
        settings=settings,
        options=options,
    )
    return build(spec, clock=clock)


def open_async_cache(
    name: str = "default",
    /,
    *,
    engine: str | None = None,
    persist: bool = False,
    scope: Scope = "process",
    ttl: Any = None,
    maxsize: int | None = None,
    max_bytes: int | str | None = None,
    policy: str | None = None,
    serializer: str | None = None,
    key_maker: str | KeyMaker = DEFAULT_KEY_MAKER,
    compress: bool | str | None = None,
    encrypt: bool | str | None = None,
    copy: Literal["value"] | None = None,
    on_engine_error: Literal["compute", "raise", "stale"] = "compute",
    url: str | None = None,
    path: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    options: dict[str, object] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> AsyncCache:
    """Open the cache ``name`` for use from event loops; see :func:`open_cache`. Does not wait."""
    spec = Spec(
        namespace=name,
        engine=engine,
        persist=persist,
        scope=scope,
        ttl=ttl,
        maxsize=maxsize,
        max_bytes=max_bytes,
        policy=policy,
        serializer=serializer,
        key_maker=key_maker,
        compress=compress,
        encrypt=encrypt,
        copy=copy,
        on_engine_error=on_engine_error,
        url=url,
        path=path,
        settings=settings,
        options=options,
    )
    return build_async(spec, clock=clock)


def rank(workload: Workload) -> list[Ranking]:
    """Rank the installed engines for a workload: best first, then the rejected ones with reasons."""
    registry = default_registry()
    return rank_records(registry.engines().values(), workload, unavailable=registry.unavailable())


def build(spec: Spec, *, values: object = object, plain: bool = False, clock: Clock = SYSTEM_CLOCK) -> Cache:
    """Open what a specification asks for.

    Args:
        spec: what was asked for.
        values: type of the values, as far as it is known.
        plain: entries need no clocks, unless the specification says so.
        clock: clocks to use.
    """
    choice = _Choice(spec, values, asynchronous=False)
    config = choice.config(clock)
    engine = choice.open(config)
    return Cache(
        engine,
        choice.lifecycle(clock, plain=plain, private=engine.private),
        choice.explain,
        companion=lambda: choice.open(companion(config)),
    )


def build_async(
    spec: Spec, *, values: object = object, plain: bool = False, clock: Clock = SYSTEM_CLOCK
) -> AsyncCache:
    """Open what a specification asks for, for event loops; see :func:`build`."""
    choice = _Choice(spec, values, asynchronous=True)
    ability = choice.info.capabilities
    config = choice.config(clock)
    if ability.async_ and (ability.blocking or not ability.sync):
        native = choice.info.load_async()

        def connect() -> AsyncEngine:
            return native(config)

        lifecycle = choice.lifecycle(clock, plain=plain, private=False)
        beside = companion(config)
        waits = ability.blocking or ability.holds != "objects"
        return AsyncCache(
            connect, lifecycle, choice.explain, companion=lambda: native(beside), per_loop=waits
        )
    engine = choice.open(config)
    lifecycle = choice.lifecycle(clock, plain=plain, private=engine.private)

    def bridged(opened: Engine) -> Bridge:
        return Bridge(opened, threaded=ability.blocking)

    return AsyncCache(
        lambda: bridged(engine),
        lifecycle,
        choice.explain,
        companion=lambda: bridged(choice.open(companion(config))),
        per_loop=False,
    )


def companion(config: EngineConfig) -> EngineConfig:
    """Return the configuration of the engine that holds what is not an entry, for the one of ``config``.

    Its namespace is one that no cache has, and it knows no bounds: what it holds is small, and losing a
    tag's token means losing the entries of that tag.
    """
    return replace(config, namespace=f"{config.namespace}\0aside", maxsize=None, max_bytes=None, policy=None)


class _Choice:
    """The engine for a specification, and how it came to be chosen."""

    def __init__(self, spec: Spec, values: object, *, asynchronous: bool) -> None:
        self.spec = spec
        self.registry: Registry = default_registry()
        self.settings = spec.settings if spec.settings is not None else Settings.resolve()
        if self.settings.log_level is not None:
            logging.getLogger("cachewright").setLevel(self.settings.log_level)
        required = None if spec.maxsize is DEFAULT_MAXSIZE and spec.scope == "network" else spec.maxsize
        self.workload = Workload.of_type(
            values,
            persist=spec.persist,
            scope=spec.scope,
            asynchronous=asynchronous,
            ttl=spec.ttl is not None,
            maxsize=required,
            max_bytes=spec.max_bytes,
            policy=spec.policy,
        )
        self.notes: list[str] = []
        self.info, self.why = self._choose()
        self.slotted = self._wants_slots()
        if self.slotted:
            self.info = replace(self.info, capabilities=replace(self.info.capabilities, compare_and_set=True))
        self.namespace = self._namespace()
        self.storage = "Python objects, in this process"

    def _choose(self) -> tuple[EngineInfo, str]:
        if self.spec.engine is not None:
            return self._named(self.spec.engine), "asked for by name"
        wanted = self.settings.engine
        if wanted is not None:
            origin = self.settings.origin("engine")
            try:
                return self._named(wanted), f"asked for by name ({origin})"
            except NoEngineQualifiesError as misfit:
                # A preference of the whole application cannot fit each of its functions.
                self.notes.append(f"engine {wanted!r} ({origin}) is not used here: {misfit.rejected[wanted]}")
        info = choose(
            self.registry.engines().values(), self.workload, unavailable=self.registry.unavailable()
        )
        return info, f"the best installed engine for {self.workload}"

    def _wants_slots(self) -> bool:
        ability = self.info.capabilities
        if ability.scope != "host" or ability.holds != "bytes" or ability.compare_and_set or not ability.sync:
            return False
        from cachewright import _slots  # noqa: PLC0415 - for these engines only

        return _slots.available()

    def _named(self, name: str) -> EngineInfo:
        info = self.registry.engine(name)
        ability = info.capabilities
        workload = self.workload
        if self.spec.maxsize is DEFAULT_MAXSIZE and not ability.max_entries:
            workload = replace(workload, maxsize=None)
        if ability.scope == "network":
            workload = replace(workload, scope="network")
        reason = rejection(replace(info, automatic=True), workload)
        if reason is not None:
            fit = [row.engine for row in rank(self.workload) if row.rejected is None]
            hint = f"these would do: {', '.join(fit)}" if fit else ""
            raise NoEngineQualifiesError(self.workload.needs_text(), {name: reason}, hint=hint)
        return info

    def _namespace(self) -> str:
        """Return the namespace, made unmistakable where others could have the same one.

        Two applications of one user can both have a ``load`` in a module ``data``, and every script has
        a module ``__main__``: in a store that they share, a function belongs to the file that defines it.
        """
        spec, ability = self.spec, self.info.capabilities
        if spec.definition is None or ability.scope == "process":
            return spec.namespace
        shared = ability.scope == "host" and spec.path is None and self.settings.dir is None
        if not shared and not spec.namespace.startswith("__main__."):
            return spec.namespace
        from cachewright._fingerprint import definition_digest  # noqa: PLC0415 - for these functions only

        return f"{spec.namespace}@{definition_digest(spec.definition)}"

    def open(self, config: EngineConfig) -> Engine:
        """Open the engine, with lock slots around it where it shares a host without compare-and-set."""
        engine = self.info.load()(config)
        if not self.slotted:
            return engine
        from cachewright._slots import Slots, SlottedEngine  # noqa: PLC0415 - for these engines only

        path = config.path if config.path is not None else self._store_directory()
        slots = Slots(path.with_name(f".{path.name}.slots"), config.timeout, self.info.name)
        return SlottedEngine(engine, slots)

    def config(self, clock: Clock) -> EngineConfig:
        """Return what the engine is opened with: of the bounds those that it can keep."""
        spec, ability = self.spec, self.info.capabilities
        return EngineConfig(
            namespace=self.namespace,
            maxsize=spec.maxsize if ability.max_entries else None,
            max_bytes=spec.max_bytes if ability.max_bytes else None,
            policy=spec.policy,
            path=self._path(),
            url=spec.url or self.settings.url,
            clock=clock,
            timeout=self._timeout(),
            options=spec.options,
        )

    def _timeout(self) -> float:
        if self.settings.timeout is not None:
            return self.settings.timeout
        return NETWORK_TIMEOUT if self.info.capabilities.scope == "network" else LOCAL_TIMEOUT

    def _path(self) -> Path | None:
        ability = self.info.capabilities
        if not ability.persistent or ability.scope == "network":
            return None
        if self.spec.path is not None:
            return Path(self.spec.path).expanduser()
        return self._store_directory()

    def _store_directory(self) -> Path:
        from cachewright.config import cache_directory  # noqa: PLC0415 - imports platformdirs

        return cache_directory(self.settings) / self.info.name

    def lifecycle(self, clock: Clock, *, plain: bool, private: bool) -> Lifecycle:
        """Return the rules of the cache."""
        spec = self.spec
        return Lifecycle(
            namespace=self.namespace,
            info=self.info,
            packer=self._packer(clock, plain=plain, private=private),
            keymaker=spec.keymaker(self.registry.keymaker),
            own_keys=spec.own_keys,
            clock=clock,
            ttl=None if callable(spec.ttl) else spec.ttl,
            on_engine_error=spec.on_engine_error,
            listeners=self.registry.listeners(),
            maxsize=spec.maxsize if self.info.capabilities.max_entries else None,
            alternatives=self._alternatives,
            lease=self.settings.lease,
        )

    def _packer(self, clock: Clock, *, plain: bool, private: bool) -> Packer:
        spec = self.spec
        if self.info.capabilities.holds == "objects":
            self._refuse_bytes_only()
            measure = size_of if spec.max_bytes is not None else None
            if plain and spec.ttl is None and spec.copy is None and not spec.aged:
                return PlainPacker(measure)
            return EntryPacker(clock, measure, private_copy=spec.copy == "value")
        ring = self._ring(private=private)
        chain = self._chain(ring)
        labels = self.registry.serializer("data").load()()
        codecs = self._codecs(ring)
        if not spec.compress:
            return SealedPacker(clock, self._envelope(ring, chain, codecs), chain, labels, codecs)
        compressor = self._compressor(ring, codecs)
        envelope = self._envelope(ring, chain, codecs)
        return CompressingPacker(compressor, clock, envelope, chain, labels, codecs)

    def _refuse_bytes_only(self) -> None:
        """Refuse what was asked to be done to bytes that an engine of objects never has."""
        spec = self.spec
        asked = (("serializer", spec.serializer), ("compress", spec.compress), ("encrypt", spec.encrypt))
        for name, value in asked:
            if value:
                expected = f"None: engine {self.info.name!r} keeps objects as they are, in this process"
                raise ConfigurationError(name, value, expected)

    def _ring(self, *, private: bool) -> KeyRing | None:
        from cachewright.keyring import KeyRing, user_ring  # noqa: PLC0415 - imports hmac

        if self.settings.signing_keys is not None:
            return KeyRing.parse(self.settings.signing_keys, origin=self.settings.origin("signing_keys"))
        if not private:
            return None
        from cachewright.config import user_data_directory  # noqa: PLC0415 - imports platformdirs

        return user_ring(user_data_directory(self.settings))

    def _chain(self, ring: KeyRing | None) -> SerializerChain:
        installed = self.registry.serializers()
        authenticated = ring is not None
        if self.spec.serializer is not None:
            info = self.registry.serializer(self.spec.serializer)
            if info.executable and not authenticated:
                raise ConfigurationError(
                    "serializer",
                    info.name,
                    "a data-only serializer, because entries of this store are not authenticated;"
                    " set CACHEWRIGHT_SIGNING_KEYS (or signing_keys=) to allow it",
                )
            usable = [info]
        elif authenticated:
            usable = [info for info in installed.values() if info.name != "data"]
        else:
            usable = [info for info in installed.values() if not info.executable]
        chain = SerializerChain(usable)
        names = " > ".join(info.name for info in chain.infos)
        trust = "authenticated" if authenticated else "not authenticated, so data only"
        self.storage = f"bytes by the first fitting serializer of {names}; {trust}"
        return chain

    def _codecs(self, ring: KeyRing | None) -> Codecs:
        """Return what opens compressed entries: every codec that may see bytes of this store."""
        from cachewright.codec.codecs import Codecs  # noqa: PLC0415 - only engines of bytes need it

        installed = self.registry.codecs().values()
        return Codecs(info for info in installed if info.hardened or ring is not None)

    def _compressor(self, ring: KeyRing | None, codecs: Codecs) -> Compressor:
        from cachewright.codec.compressor import Compressor  # noqa: PLC0415 - for who compresses

        wanted = self.spec.compress
        if isinstance(wanted, str):
            info = self.registry.codec(wanted)
            if ring is None and not info.hardened:
                expected = (
                    "a codec made for hostile bytes, because entries of this store are not authenticated;"
                    " set CACHEWRIGHT_SIGNING_KEYS (or signing_keys=) to allow it"
                )
                raise ConfigurationError("compress", wanted, expected)
            infos = [info]
        else:
            every = self.registry.codecs().values()
            infos = [info for info in every if info.automatic and info.code in codecs]
        compressor = Compressor(infos, codecs, timed=wanted is True)
        self.storage += f"; compressed by {' or '.join(compressor.names)} where it pays"
        return compressor

    def _cipher(self, ring: KeyRing | None) -> tuple[KeyRing, CipherInfo] | None:
        """Return the keys and the cipher to encrypt with; ``None`` if nobody asked for that."""
        wanted = self.spec.encrypt if self.spec.encrypt is not None else self.settings.encrypt
        if not wanted:
            return None
        origin = "" if self.spec.encrypt is not None else self.settings.origin("encrypt")
        info = self.registry.cipher(DEFAULT_CIPHER if wanted is True else wanted)
        if ring is None:
            expected = (
                "a key beside it, because this store is not private to this user:"
                " set CACHEWRIGHT_SIGNING_KEYS (or signing_keys=)"
            )
            raise ConfigurationError("encrypt", wanted, expected, origin=origin)
        self.storage += f"; encrypted by {info.name}"
        return ring, info

    def _envelope(self, ring: KeyRing | None, chain: SerializerChain, codecs: Codecs) -> Envelope:
        from cachewright.envelope import Envelope  # noqa: PLC0415 - only engines of bytes need it

        executable = any(info.executable for info in chain.infos)
        ability = self.info.capabilities
        skew = CLOCK_SKEW if ability.scope == "network" and ability.ttl_per_entry else 0.0
        options: dict[str, Any] = {"executable": executable, "skew": skew, "codecs": codecs}
        if self.settings.max_value_bytes is not None:
            options["max_bytes"] = self.settings.max_value_bytes
        encryption = self._cipher(ring)
        if encryption is None:
            return Envelope(self.namespace, ring=ring, **options)
        from cachewright.envelope.encrypted import EncryptedEnvelope  # noqa: PLC0415 - for who encrypts

        keys, info = encryption
        return EncryptedEnvelope(self.namespace, ring=keys, info=info, **options)

    def _alternatives(self, ability: str) -> tuple[str, ...]:
        engines = self.registry.engines().values()
        return tuple(sorted(info.name for info in engines if getattr(info.capabilities, ability)))

    def explain(self) -> Explanation:
        """Return why this engine is in use, with the ranking as it is now."""
        return Explanation(
            namespace=self.namespace,
            engine=self.info.name,
            why=self.why,
            rankings=tuple(rank(self.workload)),
            storage=self.storage,
            notes=tuple(self.notes),
        )


def plugins() -> list[PluginStatus]:
    """Return a row for every plugin found: what it offers or why it is left out."""
    return default_registry().plugins()
