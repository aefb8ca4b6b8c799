"""Settings: who may choose, who wins, and what is refused."""

from __future__ import annotations

import contextvars
import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cachewright.choices import CHOICES
from cachewright.config import Settings, cache_directory, configure, safe_folder, user_data_directory
from cachewright.errors import ConfigurationError


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without settings, and undo plain calls of configure()."""
    for name in [name for name in os.environ if name.startswith("CACHEWRIGHT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("cachewright.config._process_wide", ())


def pyproject(folder: Path, text: str) -> Path:
    path = folder / "pyproject.toml"
    path.write_text(text)
    return path


def test_defaults() -> None:
    """Nothing chosen: caching is on, and everything is found by itself."""
    settings = Settings.resolve()
    assert settings == Settings()
    assert (settings.disable, settings.engine, settings.dir, settings.url) == (False, None, None, None)
    assert (settings.disabled_plugins, settings.timeout, settings.max_value_bytes) == ((), None, None)
    assert settings.lease == 10.0
    assert {settings.origin(name) for name in CHOICES} == {"default"}
    assert repr(settings) == "Settings()"


def test_times_are_seconds_however_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """No timeout leaves the choice to the kind of engine; a lease there always is."""
    monkeypatch.setenv("CACHEWRIGHT_LEASE", "1500ms")
    monkeypatch.setenv("CACHEWRIGHT_TIMEOUT", "0.25")
    assert (Settings.resolve().lease, Settings.resolve().timeout) == (1.5, 0.25)
    assert (Settings(lease=3).lease, Settings(lease=None).lease) == (3.0, 10.0)


def test_precedence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each place wins over the ones below it, and the origin says which one it was."""
    path = pyproject(tmp_path, '[tool.cachewright]\nengine = "from_file"\nurl = "file://x"\n')
    assert Settings.resolve().engine is None
    configure(pyproject=path)
    assert Settings.resolve().engine == "from_file"
    assert Settings.resolve().origin("engine") == f"[tool.cachewright] of {path}"
    monkeypatch.setenv("CACHEWRIGHT_ENGINE", "from_environment")
    assert Settings.resolve().engine == "from_environment"
    assert Settings.resolve().origin("engine") == "environment variable CACHEWRIGHT_ENGINE"
    configure(engine="from_process")
    assert Settings.resolve().engine == "from_process"
    with configure(engine="from_block"):
        assert Settings.resolve().engine == "from_block"
        assert Settings.resolve().origin("engine") == "configure()"
        assert Settings.resolve(engine="from_argument").engine == "from_argument"
        assert Settings.resolve(engine="from_argument").origin("engine") == "argument"
        assert Settings.resolve().url == "file://x"
    assert Settings.resolve().engine == "from_process"
    configure(engine="later")
    assert Settings.resolve().engine == "later"


def test_none_says_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """None wins like any value and means what holds without choosing."""
    monkeypatch.setenv("CACHEWRIGHT_ENGINE", "x")
    monkeypatch.setenv("CACHEWRIGHT_TIMEOUT", "9")
    with configure(engine=None):
        assert (Settings.resolve().engine, Settings.resolve().timeout) == (None, 9.0)


def test_block_is_undone_after_an_error() -> None:
    """What held before a block holds again, however it ends; blocks nest, the same one too."""
    block = configure(engine="a")
    with pytest.raises(ZeroDivisionError), block, configure(engine="b"), block:
        assert Settings.resolve().engine == "a"
        assert 1 / 0
    with block:
        with configure(engine="b"):
            assert Settings.resolve().engine == "b"
        assert Settings.resolve().engine == "a"
    assert Settings.resolve().engine is None


def test_plain_call_reaches_other_threads_and_a_block_does_not() -> None:
    """configure() is for the process, ``with configure()`` for this thread or task."""
    seen: list[str | None] = []

    def look() -> None:
        thread = threading.Thread(target=lambda: seen.append(Settings.resolve().engine))
        thread.start()
        thread.join(10)

    with configure(engine="block"):
        look()
    configure(engine="process")
    look()
    assert seen == [None, "process"]


def test_block_may_end_in_another_context() -> None:
    """A fixture that is torn down elsewhere leaves the place where it ends as it was."""
    block = configure(engine="a")
    contextvars.copy_context().run(block.__enter__)
    block.__exit__(None, None, None)
    assert Settings.resolve().engine is None


def test_refused_configuration_changes_nothing() -> None:
    """An error leaves what held before."""
    with pytest.raises(ConfigurationError):
        configure(engine="good", timeout="bad")
    assert Settings.resolve().engine is None


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("DISABLE", "1", True),
        ("DISABLE", "No", False),
        ("ENGINE", " redis ", "redis"),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("DISABLED_PLUGINS", "b, a,,b", ("a", "b")),
        ("TIMEOUT", "500ms", 0.5),
        ("MAX_VALUE_BYTES", "2MiB", 2**21),
        ("REDIS_PORT", "6380", 6380),
        ("URL", "redis://h/1", "redis://h/1"),
        ("SIGNING_KEYS", "k1,k2", "k1,k2"),
        ("DIR", "/x/../y", Path("/y")),
        ("DATA_DIR", "~/keys", Path("~/keys").expanduser()),
        ("ENGINE", "  ", None),
        ("ENCRYPT", "on", True),
        ("ENCRYPT", "0", False),
        ("ENCRYPT", "aes-gcm", "aes-gcm"),
    ],
)
def test_environment(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, value: object) -> None:
    """Variables are read as text; an empty one says nothing."""
    monkeypatch.setenv(f"CACHEWRIGHT_{variable}", text)
    assert getattr(Settings.resolve(), variable.lower()) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("disable", "maybe"),
        ("disable", 1),
        ("engine", ""),
        ("engine", 3),
        ("engine", "a\nb"),
        ("dir", ""),
        ("dir", " "),
        ("dir", b"x"),
        ("dir", "a\0b"),
        ("dir", 3),
        ("url", "localhost"),
        ("url", "://x"),
        ("url", "redis://"),
        ("url", "redis://a b"),
        ("encrypt", ""),
        ("encrypt", 1),
        ("encrypt", "a\nb"),
        ("signing_keys", ""),
        ("signing_keys", 3),
        ("disabled_plugins", 3),
        ("disabled_plugins", [3]),
        ("log_level", "LOUD"),
        ("log_level", 10),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", "soon"),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("lease", 0),
        ("lease", -1),
        ("lease", "soon"),
        ("lease", True),
        ("lease", float("nan")),
        ("lease", float("inf")),
        ("max_value_bytes", -1),
        ("max_value_bytes", "1M"),
        ("redis_host", "a/b"),
        ("redis_host", "user@host"),
        ("redis_port", 0),
        ("redis_port", 99999),
        ("redis_port", "x"),
        ("redis_port", True),
        ("redis_port", 6379.0),
        ("redis_db", -1),
        ("redis_ssl", "perhaps"),
    ],
)
def test_bad_values_name_setting_value_and_origin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: Any
) -> None:
    """A value that makes no sense is refused wherever it is given."""
    for use in (Settings, Settings.resolve, configure):
        with pytest.raises(ConfigurationError, match=f"^{name}=.* is not usable: expected ") as e:
            use(**{name: value})
        assert e.value.origin in {"argument", "configure()"}
    if isinstance(value, str) and value.strip() and "\0" not in value:
        monkeypatch.setenv(f"CACHEWRIGHT_{name.upper()}", value)
        with pytest.raises(ConfigurationError, match=f"environment variable CACHEWRIGHT_{name.upper()}"):
            Settings.resolve()
        monkeypatch.undo()
    if isinstance(value, int) and not isinstance(value, bool):
        path = pyproject(tmp_path, f"[tool.cachewright]\n{name} = {value}\n")
        with pytest.raises(ConfigurationError, match=r"pyproject\.toml"):
            Settings.from_pyproject(path)


def test_unknown_names_are_errors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A misspelt setting is never ignored, and the nearest name is offered."""
    wrong: dict[str, Any] = {"enigne": "x"}
    for use in (Settings, Settings.resolve, configure, Settings().replace):
        with pytest.raises(ConfigurationError, match=r"setting='enigne' .*; did you mean 'engine'\?"):
            use(**wrong)
    with pytest.raises(ConfigurationError, match="did you mean 'engine'"):
        Settings().origin("enigne")
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml"):
        Settings.from_pyproject(pyproject(tmp_path, "[tool.cachewright]\nenigne = 1\n"))
    monkeypatch.setenv("CACHEWRIGHT_ENIGNE", "x")
    with pytest.raises(ConfigurationError, match="environment variable CACHEWRIGHT_ENIGNE"):
        Settings.resolve()


def test_pyproject_is_read_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the working directory has no effect by itself; its directories are relative to it."""
    path = pyproject(
        tmp_path, '[tool.cachewright]\ndir = "cache"\ndisabled_plugins = ["a"]\ndisable = true\n'
    )
    monkeypatch.chdir(tmp_path)
    assert Settings.resolve().disable is False
    monkeypatch.chdir("/")
    settings = Settings.from_pyproject(path)
    assert (settings.dir, settings.disabled_plugins, settings.disable) == (tmp_path / "cache", ("a",), True)
    with configure(pyproject=path):
        assert Settings.resolve().dir == tmp_path / "cache"
    assert Settings.resolve().dir is None


@pytest.mark.parametrize("text", ["not toml", "[tool]\ncachewright = 3\n", "tool = 3\n"])
def test_unusable_pyproject(tmp_path: Path, text: str) -> None:
    """A file that cannot be read, or has no table, is an error."""
    with pytest.raises(ConfigurationError):
        Settings.from_pyproject(pyproject(tmp_path, text))
    with pytest.raises(ConfigurationError, match="a readable TOML file"):
        Settings.from_pyproject(tmp_path / "missing.toml")
    assert Settings.from_pyproject(pyproject(tmp_path, "[tool.other]\nx = 1\n")) == Settings()


def test_secrets_are_never_shown() -> None:
    """Keys and passwords appear neither in a repr nor in a table nor in an error."""
    settings = Settings(signing_keys="secret1", redis_password="secret2", url="redis://u:secret3@host/0")
    assert settings.signing_keys == "secret1"
    assert "secret" not in repr(settings)
    assert "secret" not in str(list(settings.items()))
    assert "redis://u:***@host/0" in repr(settings)
    assert "secret" not in repr(Settings(redis_password="secret2"))
    for wrong in (
        {"signing_keys": "secret\n"},
        {"url": "redis://u:secret@ho st"},
        {"url": "redis//u:secret@host"},
        {"redis_password": ["secret"]},
    ):
        with pytest.raises(ConfigurationError) as e:
            Settings(**wrong)
        assert "secret" not in str(e.value)


@pytest.mark.parametrize(
    ("parts", "url"),
    [
        ({}, None),
        ({"redis_host": "cache.local"}, "redis://cache.local:6379/0"),
        ({"redis_port": 6380, "redis_db": 2}, "redis://localhost:6380/2"),
        ({"redis_host": "::1", "redis_ssl": True}, "rediss://[::1]:6379/0"),
        (
            {"redis_host": "h", "redis_username": "u@x", "redis_password": "p/w:"},
            "redis://u%40x:p%2Fw%3A@h:6379/0",
        ),
        ({"redis_host": "h", "redis_password": "pw"}, "redis://:pw@h:6379/0"),
        ({"redis_host": "h", "url": "redis://other/1"}, "redis://other/1"),
    ],
)
def test_url_is_composed_from_its_parts(parts: dict[str, Any], url: str | None) -> None:
    """The redis settings make an address where none is set."""
    settings = Settings(**parts)
    assert settings.url == url
    if url and "url" not in parts:
        assert settings.origin("url") == f"composed from {', '.join(n for n in CHOICES if n in parts)}"


def test_replacing_parts_composes_the_url_anew() -> None:
    """A composed address follows its parts; one that was set stays."""
    assert Settings(redis_host="a").replace(redis_host="b").url == "redis://b:6379/0"
    assert Settings(url="redis://a").replace(redis_host="b").url == "redis://a"


def test_settings_are_immutable_values() -> None:
    """They compare and hash by value, cannot be changed, and never leave by pickling or copying."""
    settings = Settings(engine="a")
    assert settings == Settings(engine="a") == Settings().replace(engine="a") != Settings()
    assert len({settings, Settings(engine="a")}) == 1
    assert settings != "a"
    with pytest.raises(AttributeError, match=r"use replace\(engine=...\)"):
        settings.engine = "b"
    with pytest.raises(AttributeError):
        del settings.engine
    with pytest.raises(AttributeError, match="no attribute 'enigne'"):
        settings.enigne  # noqa: B018
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="use replace"):
            leave(settings)


def test_a_relative_directory_stays_where_it_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made absolute when it is given, so changing the working directory does not move a store."""
    monkeypatch.chdir(tmp_path)
    settings = Settings(dir="cache")
    monkeypatch.chdir("/")
    assert cache_directory(settings) == tmp_path / "cache"
    assert not (tmp_path / "cache").exists()


def test_directories_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries and keys have separate absolute homes, never the working directory; nothing is made."""
    monkeypatch.chdir(tmp_path)
    cache, data = cache_directory(Settings()), user_data_directory(Settings())
    assert cache.is_absolute()
    assert data.is_absolute()
    assert cache != data
    assert tmp_path not in {*cache.parents, *data.parents}
    chosen = Settings(dir=tmp_path / "a", data_dir=tmp_path / "b")
    assert (cache_directory(chosen), user_data_directory(chosen)) == (tmp_path / "a", tmp_path / "b")
    assert user_data_directory(Settings(dir=tmp_path)) == data
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="XDG variables are for other systems")
def test_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that is not absolute would lie in the working directory: it is refused."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "relative")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(ConfigurationError, match="set CACHEWRIGHT_DIR"):
        cache_directory(Settings())


@pytest.mark.parametrize("name", ["models", "my models", "package.module-f_1", "größe", "a" * 100])
def test_safe_folder(name: str) -> None:
    """The name of one folder comes back as it is."""
    assert safe_folder(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../../escaped",
        "a/b",
        "/etc",
        "a\\b",
        "C:",
        "c:x",
        "~",
        "~root",
        ".hidden",
        "a\0b",
        "a\nb",
        "a.",
        "a ",
        " a",
        "-rf",
        "NUL",
        "nul.txt",
        "com1",
        "a*",
        "a?",
        "a" * 101,
        "ä" * 51,
        None,
        3,
        b"a",
        "\ud800",
    ],
)
def test_unsafe_folder(name: Any) -> None:
    """Nothing that could leave its parent, or means something special somewhere, is accepted."""
    with pytest.raises(ConfigurationError, match=r"^folder_name="):
        safe_folder(name)


def test_import_stays_light() -> None:
    """Settings are on the path of every decorated function: nothing heavy is imported, even by resolving."""
    code = (
        "import sys; from cachewright.config import Settings; Settings.resolve();"
        "print({'dataclasses', 'inspect', 'pathlib', 'tomllib', 'asyncio', 'platformdirs', 'difflib',"
        " 'urllib.parse', 'importlib.metadata', 'pluggy',"
        " 'cachewright.engine'} & {*sys.modules})"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.stdout.strip() == "set()"
