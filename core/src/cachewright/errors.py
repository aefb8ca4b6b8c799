"""Every exception and warning that cachewright raises.

::

    CachewrightError
    ├── ConfigurationError (ValueError)         a setting, ttl, policy or template makes no sense
    ├── UnknownPluginError (LookupError)
    │   ├── UnknownEngineError
    │   ├── UnknownSerializerError
    │   ├── UnknownKeyMakerError
    │   ├── UnknownCodecError
    │   └── UnknownCipherError
    ├── PluginLoadError (ImportError)           a plugin is installed but cannot be loaded
    ├── PluginConflictError                     two distributions claim one name
    ├── NoEngineQualifiesError (LookupError)    no installed engine meets the hard requirements
    ├── UnsupportedByEngineError (TypeError)    the engine lacks an ability
    ├── UnkeyableArgumentError (TypeError)      an argument has no canonical encoding
    ├── UnserializableError (TypeError)         a value cannot be stored on this engine
    ├── UntrustedStoreError (PermissionError)   a directory that others could have prepared
    ├── EnvelopeError (ValueError)              stored bytes that must not be used; a miss for callers
    ├── EngineError                             the backend library or server failed
    │   └── EngineUnavailableError (ConnectionError)
    ├── LoadTimeoutError (TimeoutError)         a computation took longer than callers may wait
    └── ClosedError (RuntimeError)              the cache was closed

    CachewrightWarning (UserWarning)
    ├── BrokenPluginWarning                     a plugin was left out
    └── StoreQuarantinedWarning                 an unreadable store was set aside and rebuilt

Constructors take facts, keep them as attributes and build one sentence: what failed, with which
value, and what would help.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class CachewrightError(Exception):
    """Root of every error that cachewright raises on its own behalf."""


class ConfigurationError(CachewrightError, ValueError):
    """A setting has a value that makes no sense.

    Raised when a function is decorated or a cache is opened, never in the middle of a call.
    """

    def __init__(self, setting: str, value: object, expected: str, *, origin: str = "") -> None:
        self.setting = setting
        self.value = value
        self.expected = expected
        self.origin = origin
        source = f" (from {origin})" if origin else ""
        super().__init__(f"{setting}={_shown(value)}{source} is not usable: expected {expected}")


class UnknownPluginError(CachewrightError, LookupError):
    """No installed plugin provides what was asked for by name."""

    kind = "plugin"

    def __init__(self, name: str, installed: Iterable[str], *, hint: str = "") -> None:
        self.name = name
        self.installed = tuple(sorted(installed))
        self.hint = hint
        have = ", ".join(self.installed) or "none"
        more = f"; {hint}" if hint else ""
        super().__init__(f"no {self.kind} named {name!r}; installed: {have}{more}")


class UnknownEngineError(UnknownPluginError):
    """No installed engine has that name."""

    kind = "engine"


class UnknownSerializerError(UnknownPluginError):
    """No installed serializer has that name."""

    kind = "serializer"


class UnknownKeyMakerError(UnknownPluginError):
    """No installed key maker has that name."""

    kind = "key maker"


class UnknownCodecError(UnknownPluginError):
    """No installed codec has that name."""

    kind = "codec"


class UnknownCipherError(UnknownPluginError):
    """No installed cipher has that name."""

    kind = "cipher"


class PluginLoadError(CachewrightError, ImportError):
    """A plugin is installed, but loading what it promised failed."""

    def __init__(self, plugin: str, reason: str, *, hint: str = "") -> None:
        self.plugin = plugin
        self.reason = reason
        self.hint = hint
        more = f"; {hint}" if hint else ""
        super().__init__(f"plugin {plugin!r} cannot be loaded: {reason}{more}")


class PluginConflictError(CachewrightError):
    """Two plugins claim the same name, so neither can be meant."""

    def __init__(self, kind: str, name: str, claimants: Iterable[str]) -> None:
        self.kind = kind
        self.name = name
        self.claimants = tuple(claimants)
        super().__init__(
            f"{kind} {name!r} is claimed by {' and by '.join(self.claimants)}; uninstall one of them"
            " or list it in CACHEWRIGHT_DISABLED_PLUGINS"
        )


class NoEngineQualifiesError(CachewrightError, LookupError):
    """No installed engine meets every hard requirement."""

    def __init__(self, needs: str, rejected: Mapping[str, str], *, hint: str = "") -> None:
        self.needs = needs
        self.rejected = dict(rejected)
        self.hint = hint
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.rejected.items())
        more = f"; {hint}" if hint else ""
        super().__init__(f"no installed engine offers {needs} ({reasons or 'none is installed'}){more}")


class UnsupportedByEngineError(CachewrightError, TypeError):
    """The engine in use lacks an ability that the call needs."""

    def __init__(self, engine: str, ability: str, alternatives: Iterable[str] = ()) -> None:
        self.engine = engine
        self.ability = ability
        self.alternatives = tuple(alternatives)
        others = f"; these can: {', '.join(self.alternatives)}" if self.alternatives else ""
        super().__init__(f"engine {engine!r} does not support {ability}{others}")


class UnkeyableArgumentError(CachewrightError, TypeError):
    """An argument has no canonical encoding, so no key can be made from it."""

    def __init__(self, function: str, parameter: str, type_name: str, *, reason: str = "") -> None:
        self.function = function
        self.parameter = parameter
        self.type_name = type_name
        self.reason = reason
        why = f" ({reason})" if reason else ""
        super().__init__(
            f"argument {parameter!r} of {function} is a {type_name}, which has no canonical key{why};"
            f" leave it out with ignore=({parameter!r},), register an encoder for the type,"
            " or compute the key yourself with key="
        )


class UnserializableError(CachewrightError, TypeError):
    """A value cannot be stored by the serializers that are allowed here."""

    def __init__(self, type_name: str, reason: str, *, hint: str = "") -> None:
        self.type_name = type_name
        self.reason = reason
        self.hint = hint
        more = f"; {hint}" if hint else ""
        super().__init__(f"a value of type {type_name} cannot be stored: {reason}{more}")


class UntrustedStoreError(CachewrightError, PermissionError):
    """A directory or file could have been prepared by somebody else."""

    def __init__(self, path: str, reason: str, *, hint: str = "") -> None:
        self.path = path
        self.reason = reason
        self.hint = hint
        more = f"; {hint}" if hint else ""
        super().__init__(f"{path} is not trusted: {reason}{more}")


class EnvelopeError(CachewrightError, ValueError):
    """Stored bytes must not be used; callers of a cache see a miss instead.

    ``reason`` is one of: short, too-big, format, suite, unknown-key, auth, flags, serializer,
    codec, length, generation, expired, decode. The message never holds key, tag or payload.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"stored entry refused: {reason}")


class EngineError(CachewrightError):
    """The backend library or its server failed while it was asked to do something."""

    def __init__(self, engine: str, operation: str, reason: str, *, hint: str = "") -> None:
        self.engine = engine
        self.operation = operation
        self.reason = reason
        self.hint = hint
        more = f"; {hint}" if hint else ""
        super().__init__(f"engine {engine!r} failed to {operation}: {reason}{more}")


class EngineUnavailableError(EngineError, ConnectionError):
    """The engine's server or store cannot be reached at all."""


class LoadTimeoutError(CachewrightError, TimeoutError):
    """A computation took longer than ``Freshness.hard_timeout``; it goes on without this caller."""

    def __init__(self, function: str, seconds: float) -> None:
        self.function = function
        self.seconds = seconds
        super().__init__(
            f"{function} did not return within {seconds:g} s; it goes on, and its result is stored; raise"
            " hard_timeout= to wait for longer"
        )


class ClosedError(CachewrightError, RuntimeError):
    """The cache was used after it had been closed."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} is closed; open it again")


class CachewrightWarning(UserWarning):
    """Root of every warning that cachewright emits."""


class BrokenPluginWarning(CachewrightWarning):
    """A plugin was left out because it is broken, duplicated or misspelt."""


class StoreQuarantinedWarning(CachewrightWarning):
    """An unreadable store was set aside under another name and a new one was made."""


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a __repr__ is foreign code, and its failure must not hide what was wrong
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else f"{text[:77]}..."
