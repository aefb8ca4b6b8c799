"""Plugins: found late, asked for records, isolated when broken."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cachewright.builtin import plugin as builtin
from cachewright.cipher import CipherInfo
from cachewright.codec import CodecInfo
from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.errors import (
    BrokenPluginWarning,
    ConfigurationError,
    PluginConflictError,
    PluginLoadError,
    UnknownCipherError,
    UnknownCodecError,
    UnknownEngineError,
    UnknownKeyMakerError,
    UnknownSerializerError,
)
from cachewright.hookspecs import hookimpl
from cachewright.registry import Registry, default_registry
from cachewright.serializer import SerializerInfo

PREAMBLE = """
from cachewright.cipher import CipherInfo
from cachewright.codec import CodecInfo
from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.hookspecs import hookimpl
from cachewright.serializer import SerializerInfo
def engine(name, **more):
    return EngineInfo(name=name, target=f"nowhere_{name}:E", capabilities=Capabilities(holds="objects"),
                      costs=Costs(get=((1, 1e-6),), set=((1, 1e-6),)), **more)
"""
SHELF = "@hookimpl\ndef cachewright_engines():\n    return [engine('shelf')]"

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install distributions of one plugin module each, in a directory on the import path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installed(name: str, source: str, *, version: str = "1.0", entry: str = "") -> None:
        module = f"{tmp_path.name.replace('-', '_')}_{name}"
        (tmp_path / f"{module}.py").write_text(PREAMBLE + textwrap.dedent(source))
        info = tmp_path / f"dist_{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[cachewright]\n{name} = {entry or module}\n")

    return installed


def engine(name: str, **more: Any) -> EngineInfo:
    costs = Costs(get=((1, 1e-6),), set=((1, 1e-6),))
    return EngineInfo(
        name=name, **{"target": "m:E", "capabilities": Capabilities(holds="objects"), "costs": costs, **more}
    )


def plugin_of(*engines: object, **hooks: Callable[[], object]) -> SimpleNamespace:
    def cachewright_engines() -> list[object]:
        return list(engines)

    every = {"cachewright_engines": cachewright_engines, **hooks} if engines else hooks
    return SimpleNamespace(**{name: hookimpl(hook) for name, hook in every.items()})


def rows(registry: Registry) -> dict[str, Any]:
    return {row.name: row for row in registry.plugins() if row.name != "builtin"}


def test_builtin_plugin_is_found() -> None:
    """The engines, serializers and the key maker of the core come from a plugin like any other."""
    registry = Registry()
    assert {"memory", "null", "sqlite"} <= {*registry.engines()}
    assert registry.engine("memory").distribution == "cachewright"
    assert registry.serializer("pickle").executable
    assert registry.keymaker("canonical").distribution == "cachewright"
    row = next(row for row in registry.plugins() if row.name == "builtin")
    assert (row.state, row.keymakers, row.version != "") == ("ok", ("canonical",), True)


def test_builtin_plugin_is_found_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source tree that was never installed has its own plugin too."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    assert {"memory", "null", "sqlite"} == {*Registry().engines()}
    assert Registry(disabled={"builtin"}).engines() == {}


def test_without_entry_points_only_what_was_registered_counts() -> None:
    """A registry for tests starts empty and holds exactly what it is given."""
    registry = Registry(entry_points=False)
    assert (registry.engines(), registry.plugins(), registry.listeners()) == ({}, [], ())
    registry.register(builtin, "mine")
    assert "memory" in registry.engines()
    registry.unregister("mine")
    assert registry.engines() == {}


def test_installed_plugin_is_listed(install: Install) -> None:
    """A distribution's entry point is enough; its records carry its name."""
    install("shelf", SHELF, version="2.5")
    registry = Registry()
    assert registry.engine("shelf").distribution == "dist-shelf"
    row = rows(registry)["shelf"]
    assert (row.distribution, row.version, row.state, row.reason) == ("dist-shelf", "2.5", "ok", "")
    assert row.engines == ("shelf",)


def test_registered_plugin_counts_at_once_everywhere() -> None:
    """There is one default registry, and what it is given is known to everyone from then on."""
    plugin = plugin_of(engine("mine"))
    with pytest.raises(UnknownEngineError):
        default_registry().engine("mine")
    default_registry().register(plugin, "mine")
    try:
        assert default_registry() is default_registry()
        assert default_registry().engine("mine").name == "mine"
        assert "mine" not in default_registry().unavailable()
    finally:
        default_registry().unregister(plugin)
    with pytest.raises(UnknownEngineError):
        default_registry().engine("mine")


def test_registering_something_broken_is_an_error_at_once() -> None:
    """A program that registers a bad plugin learns it there and then."""
    registry = Registry(entry_points=False)
    with pytest.raises(
        PluginLoadError, match=r"plugin 'bad' cannot be loaded: it implements none of the hooks"
    ):
        registry.register(object(), "bad")
    registry.register(plugin_of(engine("a")), "a")
    with pytest.raises(PluginConflictError, match="plugin 'a'"):
        registry.register(plugin_of(engine("b")), "a")
    assert list(registry.engines()) == ["a"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import there_is_no_such_module", "ModuleNotFoundError: No module named 'there_is_no_such_module'"),
        ("raise ValueError('boom')", "ValueError: boom"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError: "),
        ("", "it implements none of the hooks"),
        ("@hookimpl\ndef cachewright_engine():\n    return []", "unknown hook 'cachewright_engine'"),
        ("def cachewright_engines():\n    return []", "cachewright_engines is not marked with @hookimpl"),
        ("@hookimpl\ndef cachewright_engines(x):\n    return []", "Argument(s) {'x'}"),
        ("@hookimpl\ndef cachewright_engines():\n    1 / 0", "ZeroDivisionError"),
        (
            "@hookimpl\ndef cachewright_engines():\n    pass",
            "cachewright_engines returned None, not an iterable",
        ),
        (
            "@hookimpl\ndef cachewright_engines():\n    return engine('x')",
            "returned EngineInfo, not an iterable",
        ),
        ("@hookimpl\nasync def cachewright_engines():\n    return []", "returned coroutine, not an iterable"),
        ("@hookimpl\ndef cachewright_engines():\n    return 'shelf'", "returned a str among its EngineInfos"),
        ("@hookimpl\ndef cachewright_engines():\n    while True:\n        yield 1", "more than 1000 records"),
        ("@hookimpl\ndef cachewright_engines():\n    return [engine('Shelf!')]", "an invalid name"),
        (
            "@hookimpl\ndef cachewright_engines():\n    return [engine('a'), engine('a')]",
            "returned 'a' twice",
        ),
        (
            "@hookimpl\ndef cachewright_engines():\n    return [engine('a', requires='redis')]",
            "requires that is no tuple",
        ),
        (
            "@hookimpl\ndef cachewright_engines():\n    return [engine('a', requires=('a b',))]",
            "no distribution's name",
        ),
        ("@hookimpl\ndef cachewright_listeners():\n    return [3]", "something that cannot be called"),
        (
            "@hookimpl\ndef cachewright_serializers():\n"
            "    return [SerializerInfo(name='a', code=256, target='m:A')]",
            "code 256, which is not a whole number from 1 to 255",
        ),
    ],
)
def test_broken_plugin_is_isolated(install: Install, source: str, reason: str) -> None:
    """Whatever a plugin does wrong: one warning, a row with the reason, and the others work."""
    install("bad", source)
    install("shelf", SHELF)
    registry = Registry()
    with pytest.warns(BrokenPluginWarning, match="plugin 'bad'") as seen:
        assert {"shelf", "memory"} <= {*registry.engines()}
    assert len(seen) == 1
    row = rows(registry)["bad"]
    assert row.state == "broken"
    assert reason in row.reason
    assert reason in registry.unavailable()["bad"]
    with pytest.raises(PluginLoadError, match="plugin 'bad' cannot be loaded"):
        registry.engine("bad")
    registry.refresh()
    registry.engines()  # the same fault is not told again


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", ""),
        ("target", "module"),
        ("target", 3),
        ("capabilities", None),
        ("costs", None),
        ("name", 3),
        ("install", None),
        ("name", ""),
        ("name", "a/b"),
        ("requires", None),
        ("capabilities", Capabilities(holds="files")),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ("capabilities", Capabilities(holds="bytes", sync=False)),
        ("capabilities", Capabilities(holds="bytes", async_=True)),
        ("costs", Costs(get=(), set=((1, 1.0),))),
        ("costs", Costs(get=((2, 1.0), (1, 1.0)), set=((1, 1.0),))),
        ("costs", Costs(get=((1, -1.0),), set=((1, 1.0),))),
        ("costs", Costs(get=((1, float("nan")),), set=((1, 1.0),))),
        ("costs", Costs(get=((1, 1.0),), set=((1, 1.0),), miss=float("inf"))),
        ("costs", Costs(get=(1, 2), set=((1, 1.0),))),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ],
)
def test_unusable_records_are_refused(field: str, value: object) -> None:
    """A record that the selector or the loader would stumble over never gets that far."""
    changed: dict[str, Any] = {field: value}
    with pytest.raises(PluginLoadError, match="cachewright_engines returned EngineInfo"):
        Registry(entry_points=False).register(plugin_of(engine(**{"name": "a", **changed})), "p")


def test_two_claimants_of_a_name(install: Install) -> None:
    """Neither gets it, both are named, and their other engines work."""
    both = "@hookimpl\ndef cachewright_engines():\n    return [engine('shelf'), engine('{}')]"
    install("one", both.format("first"))
    install("two", both.format("second"))
    registry = Registry()
    with pytest.warns(BrokenPluginWarning, match="'shelf' is also claimed") as seen:
        assert {"first", "second", "memory"} <= {*registry.engines()}
    assert len(seen) == 2
    assert "shelf" not in registry.engines()
    with pytest.raises(
        PluginConflictError, match=r"engine 'shelf' is claimed by dist-one .* and by dist-two"
    ):
        registry.engine("shelf")
    assert registry.unavailable()["shelf"].startswith("claimed by dist-one")
    assert {row.state for row in rows(registry).values() if row.name in {"one", "two"}} == {"broken"}


def test_builtin_names_cannot_be_taken(install: Install) -> None:
    """A plugin that claims a built-in name does not displace it, not even under its plugin's name."""
    install(
        "builtin", "@hookimpl\ndef cachewright_engines():\n    return [engine('memory'), engine('other')]"
    )
    registry = Registry()
    with pytest.warns(BrokenPluginWarning, match="engine 'memory' is also claimed"):
        assert registry.engine("memory").distribution == "cachewright"
    assert "other" in registry.engines()


def test_serializer_codes_are_unique(install: Install) -> None:
    """Two serializers with one code would misread each other's payloads: neither is used."""
    source = (
        "@hookimpl\ndef cachewright_serializers():\n"
        "    return [SerializerInfo(name='{}', code={}, target='m:S')]"
    )
    install("one", source.format("aa", 0x41))
    install("two", source.format("bb", 0x41))
    install("three", source.format("cc", 0x80))
    registry = Registry()
    with pytest.warns(BrokenPluginWarning, match="claimed, by name or code, by"):
        assert not {"aa", "bb", "cc"} & {*registry.serializers()}
    with pytest.raises(PluginConflictError, match="serializer 'aa'"):
        registry.serializer("aa")
    assert registry.serializer("pickle").code == 0x80


@pytest.mark.parametrize(("kind", "hook"), [("Codec", "codecs"), ("Cipher", "ciphers")])
def test_codes_of_codecs_and_ciphers_are_unique(install: Install, kind: str, hook: str) -> None:
    """Two with one code would misread each other's entries: neither is used. Kinds do not share codes."""
    source = (
        f"@hookimpl\ndef cachewright_{hook}():\n    return [{kind}Info(name='{{}}', code=0x41, target='m:C')]"
    )
    install("one", source.format("aa"))
    install("two", source.format("bb"))
    other = {"Codec": "Cipher", "Cipher": "Codec"}[kind]
    install("three", source.replace(kind, other).replace(hook, f"{other.lower()}s").format("cc"))
    registry = Registry()
    with pytest.warns(BrokenPluginWarning, match=f"{kind.lower()} '..' is also claimed, by name or code, by"):
        assert not {"aa", "bb"} & {*registry.codecs(), *registry.ciphers()}
    with pytest.raises(PluginConflictError, match=f"{kind.lower()} 'aa'"):
        getattr(registry, kind.lower())("aa")
    assert getattr(registry, other.lower())("cc").distribution == "dist-three"


@pytest.mark.parametrize(
    ("hook", "record", "fault"),
    [
        ("codecs", CodecInfo(name="a", code=0, target="m:C"), "code 0, which is not a whole number from 1"),
        ("codecs", CodecInfo(name="a", code=256, target="m:C"), "code 256"),
        ("codecs", CodecInfo(name="A b", code=1, target="m:C"), "an invalid name"),
        ("codecs", CodecInfo(name="a", code=1, target="m"), "a target that is not"),
        ("ciphers", CipherInfo(name="a", code=2, target="m:C"), "code 2, which is not a whole number from 3"),
        ("ciphers", CipherInfo(name="a", code=True, target="m:C"), "code True"),
        ("ciphers", CodecInfo(name="a", code=3, target="m:C"), "a CodecInfo among its CipherInfos"),
    ],
)
def test_unusable_records_of_codecs_and_ciphers_are_refused(hook: str, record: object, fault: str) -> None:
    """The codes of the core's own suites are not for ciphers, and 0 is no codec."""
    plugin = plugin_of(**{f"cachewright_{hook}": lambda: [record]})
    with pytest.raises(PluginLoadError, match=fault):
        Registry(entry_points=False).register(plugin, "p")


def test_codecs_and_ciphers_are_found_by_name() -> None:
    """Each has its kind, a row that names it, and an error that says what would help."""
    registry = Registry(entry_points=False)
    codec = CodecInfo(name="brotli", code=0x41, target="m:C")
    cipher = CipherInfo(name="xchacha20", code=0x41, target="m:C")
    hooks = {"cachewright_codecs": lambda: [codec], "cachewright_ciphers": lambda: [cipher]}
    registry.register(plugin_of(**hooks), "p")
    assert (registry.codec("brotli"), registry.cipher("xchacha20")) == (codec, cipher)
    (row,) = registry.plugins()
    assert (row.state, row.codecs, row.ciphers, row.engines) == ("ok", ("brotli",), ("xchacha20",), ())
    for name, install in (("zstd", "compress"), ("blosc2", r"compress\[blosc2\]"), ("compress", "compress")):
        with pytest.raises(UnknownCodecError, match=f"no codec named.*pip install cachewright-{install}$"):
            registry.codec(name)
    with pytest.raises(UnknownCipherError, match=r"no cipher named.*pip install cachewright-crypto$"):
        registry.cipher("aes-gcm")
    with pytest.raises(UnknownCodecError, match="did you mean 'brotli'"):
        registry.codec("brotly")
    with pytest.raises(UnknownCodecError, match="names are text"):
        registry.codec(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_an_extra_that_is_not_installed_is_no_fault() -> None:
    """A plugin is fine if something of it can be used; who asks for the rest is told what to install."""
    registry = Registry(entry_points=False)
    infos = [
        CodecInfo(name="light", code=0x41, target="m:C"),
        CodecInfo(name="heavy", code=0x42, target="m:C", requires=("no-such-dist",), install="shelf[heavy]"),
    ]
    registry.register(plugin_of(cachewright_codecs=lambda: infos), "p")
    (row,) = registry.plugins()
    assert (row.state, row.reason, row.codecs) == ("ok", "", ("light",))
    with pytest.raises(
        PluginLoadError, match=r"not installed: no-such-dist; try: pip install shelf\[heavy\]"
    ):
        registry.codec("heavy")


def test_missing_requirement(install: Install) -> None:
    """An engine whose backend library is not installed is left out quietly, and the error says what to do."""
    install(
        "shelf",
        "@hookimpl\ndef cachewright_engines():\n"
        "    return [engine('shelf', requires=('no-such-dist', 'pluggy'), install='cachewright-shelf')]",
    )
    registry = Registry()
    assert "shelf" not in registry.engines()
    row = rows(registry)["shelf"]
    assert (row.state, row.engines) == ("missing requirement", ())
    assert row.reason == "not installed: no-such-dist; try: pip install cachewright-shelf"
    assert registry.unavailable()["shelf"] == row.reason
    with pytest.raises(PluginLoadError, match="try: pip install cachewright-shelf"):
        registry.engine("shelf")


@pytest.mark.parametrize("blocked", ["shelf", "dist-shelf"])
def test_disabled_plugin_is_not_even_imported(
    install: Install, monkeypatch: pytest.MonkeyPatch, blocked: str
) -> None:
    """The environment blocks plugins by name or distribution; asking for them says so."""
    install("shelf", "raise ValueError")
    monkeypatch.setenv("CACHEWRIGHT_DISABLED_PLUGINS", f"other, {blocked}")
    registry = Registry()
    assert rows(registry)["shelf"].state == "disabled"
    with pytest.raises(UnknownEngineError, match="CACHEWRIGHT_DISABLED_PLUGINS"):
        registry.engine("shelf")


def test_registered_plugins_can_be_disabled() -> None:
    """What the program registers is blocked by name like everything else."""
    registry = Registry(entry_points=False, disabled="mine")
    registry.register(plugin_of(engine("mine")), "mine")
    assert registry.engines() == {}
    assert registry.plugins()[0].state == "disabled"


def test_bad_environment_is_an_error_and_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that makes no sense stops discovery; once it is right, discovery works."""
    registry = Registry()
    monkeypatch.setenv("CACHEWRIGHT_DISABLED_PLUGIN", "x")
    with pytest.raises(ConfigurationError, match="did you mean 'disabled_plugins'"):
        registry.engines()
    monkeypatch.delenv("CACHEWRIGHT_DISABLED_PLUGIN")
    assert "memory" in registry.engines()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("redis", "try: pip install cachewright-redis$"),
        ("cachebx", "try: pip install cachewright-cachebox$"),
        ("memroy", r"did you mean 'memory'\?$"),
        ("Memory", r"did you mean 'memory'\?$"),
        ("zzz", "installed: memory, null, sqlite$"),
        ("", "sqlite$"),
        (None, "names are text$"),
        (["memory"], "names are text$"),
    ],
)
def test_unknown_names_get_a_hint(name: Any, hint: str) -> None:
    """The error lists what is there and says what would help."""
    registry = Registry(entry_points=False)
    registry.register(builtin)
    with pytest.raises(UnknownEngineError, match=hint):
        registry.engine(name)
    with pytest.raises(UnknownSerializerError, match="data, pickle, raw, text"):
        registry.serializer("zzz")
    with pytest.raises(UnknownKeyMakerError, match="canonical"):
        registry.keymaker("zzz")


def test_listeners_are_collected() -> None:
    """Listeners of all usable plugins are answered, and no others."""
    registry = Registry(entry_points=False, disabled={"quiet"})
    registry.register(plugin_of(cachewright_listeners=lambda: [print]), "loud")
    registry.register(plugin_of(cachewright_listeners=lambda: [repr]), "quiet")
    assert registry.listeners() == (print,)


def test_answers_are_copies() -> None:
    """Changing an answer changes nothing for others."""
    registry = Registry()
    registry.engines().clear()
    assert "memory" in registry.engines()


def test_discovery_happens_once_for_all_threads() -> None:
    """Threads that ask at the same time share one discovery."""
    asked: list[int] = []
    barrier = threading.Barrier(4)

    def hook() -> list[SerializerInfo]:
        asked.append(1)
        return [SerializerInfo(name="s", code=0x41, target="m:S")]

    registry = Registry(entry_points=False)
    registry.register(plugin_of(cachewright_serializers=hook), "p")
    found: list[bool] = []

    def ask() -> None:
        barrier.wait(10)
        found.append("s" in registry.serializers())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [True] * 4
    assert len(asked) == 1


def test_plugin_that_uses_the_registry_while_discovered(install: Install) -> None:
    """It is broken, with a reason, instead of hanging or recursing for ever."""
    install("loop", "from cachewright.registry import default_registry\ndefault_registry().engines()")
    default_registry().refresh()
    try:
        with pytest.warns(
            BrokenPluginWarning, match="a plugin used the registry while it was being discovered"
        ):
            assert "memory" in default_registry().engines()
    finally:
        default_registry().refresh()


def test_warnings_as_errors_leave_the_registry_usable(install: Install) -> None:
    """A filter that turns the warning into an error raises it once; then everything works."""
    install("bad", "raise ValueError")
    registry = Registry()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BrokenPluginWarning):
            registry.engines()
        assert "memory" in registry.engines()


def test_listing_and_ranking_import_no_backend_library(tmp_path: Path) -> None:
    """All plugins are discovered and ranked without importing what they wrap; the import alone finds none."""
    (tmp_path / "heavy_plugin.py").write_text(
        PREAMBLE + "@hookimpl\ndef cachewright_engines():\n"
        "    return [engine('heavy', requires=('numpy',)).__class__(name='heavy', target='numpy:ndarray',"
        " capabilities=Capabilities(holds='bytes'), costs=Costs(get=((1, 1.0),), set=((1, 1.0),)))]"
    )
    info = tmp_path / "heavy-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: heavy\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[cachewright]\nheavy = heavy_plugin\n")
    code = f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from cachewright.registry import default_registry
        late = {{"pluggy", "importlib.metadata", "cachewright.builtin.plugin"}} & {{*sys.modules}}
        from cachewright.selector import rank
        from cachewright.workload import Workload
        known = default_registry()
        rows = rank(known.engines().values(), Workload.of([1]), unavailable=known.unavailable())
        heavy = "cachebox cachetools redis dill numpy sqlite3 joblib diskcache asyncio pandas polars".split()
        print(late, len(rows) >= 4, "heavy" in [row.engine for row in rows], {{*heavy}} & {{*sys.modules}})
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set() True True set()"
