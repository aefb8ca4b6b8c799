"""The doctor finds what is wrong, says what to do, and is content with what is right."""

from __future__ import annotations

import json
import os
import stat
import sys
import types

import pytest

from cachewright.builtin.null import NullEngine
from cachewright.cli import FINDING, OK, main
from cachewright.doctor import examine
from cachewright.engine import Capabilities, Costs, EngineInfo
from cachewright.errors import EngineUnavailableError
from cachewright.hookspecs import hookimpl
from cachewright.registry import default_registry


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Private directories, and no plugin but the built-in one."""
    for name in ("DIR", "DATA_DIR"):
        path = tmp_path / name.lower()
        path.mkdir(mode=0o700)
        monkeypatch.setenv(f"CACHEWRIGHT_{name}", str(path))
    others = [row.name for row in default_registry().plugins() if row.name != "builtin"]
    monkeypatch.setenv("CACHEWRIGHT_DISABLED_PLUGINS", ",".join(others))
    default_registry().refresh()
    yield tmp_path
    monkeypatch.undo()
    default_registry().refresh()


def found(subject):
    [finding] = [each for each in examine() if each.subject == subject]
    return finding


def problems():
    return {finding.subject: finding for finding in examine() if finding.level == "problem"}


def offering(engine, name):
    """Return a plugin that offers ``engine``."""

    class Plugin:
        @hookimpl
        def cachewright_engines(self):
            return [
                EngineInfo(
                    name=name,
                    target=f"engine_{name}:Engine",
                    capabilities=Capabilities(holds="objects"),
                    costs=Costs(get=((64, 1e-6),), set=((64, 1e-6),)),
                    automatic=False,
                    requires=() if engine is not None else ("a-distribution-nobody-has",),
                )
            ]

    return Plugin()


@pytest.fixture
def install(monkeypatch):
    """Return a function that registers an engine for the time of a test."""
    installed = []

    def install(name, engine):
        module = types.ModuleType(f"engine_{name}")
        module.Engine = engine
        monkeypatch.setitem(sys.modules, f"engine_{name}", module)
        installed.append(offering(engine, name))
        default_registry().register(installed[-1], name)

    yield install
    for plugin in installed:
        default_registry().unregister(plugin)


def test_a_sound_installation_has_no_problem(folders):
    """Every subject is looked at, and the stores work."""
    assert problems() == {}
    subjects = [finding.subject for finding in examine()]
    assert {
        "python",
        "plugin builtin",
        "signing keys",
        "cache directory",
        "key directory",
        "engine memory",
        "engine sqlite",
    } <= {*subjects}
    assert len(subjects) == len({*subjects})


def test_every_note_and_problem_says_what_to_do(install, monkeypatch, folders):
    """But for plugins that were left out on purpose."""
    os.chmod(folders / "dir", 0o770)
    install("away", None)
    for finding in examine():
        if finding.level == "problem" or (finding.level == "note" and "disabled" not in finding.finding):
            assert finding.advice, finding


class TestSettings:
    """Wrong settings."""

    def test_a_bad_environment_variable_is_a_problem_and_not_a_crash(self, monkeypatch):
        """It is named with its value; what depends on settings is not looked at."""
        default_registry().refresh()
        monkeypatch.setenv("CACHEWRIGHT_TIMEOUT", "soon")
        [*_, finding] = examine()
        assert (finding.level, finding.subject) == ("problem", "settings")
        assert "timeout='soon' (from environment variable CACHEWRIGHT_TIMEOUT)" in finding.finding
        assert "engine memory" not in [each.subject for each in examine()]

    def test_signing_keys_that_cannot_be_read_are_a_problem_that_shows_no_key(self, monkeypatch):
        """They would be refused at the first shared store."""
        monkeypatch.setenv("CACHEWRIGHT_SIGNING_KEYS", "not-a-secret-key!")
        finding = problems()["signing keys"]
        assert "not-a-secret" not in finding.finding
        monkeypatch.setenv("CACHEWRIGHT_SIGNING_KEYS", "00112233445566778899aabbccddeeff" * 2)
        assert found("signing keys").level == "ok"
        monkeypatch.delenv("CACHEWRIGHT_SIGNING_KEYS")
        assert found("signing keys").level == "note"


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs POSIX permissions")
class TestDirectories:
    """Directories that others could have prepared."""

    @pytest.mark.parametrize(
        ("folder", "subject"), [("dir", "cache directory"), ("data_dir", "key directory")]
    )
    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
    def test_one_that_others_can_write_to_is_a_problem(self, folders, folder, subject, mode):
        """Whoever can write there can replace what is stored."""
        os.chmod(folders / folder, mode)
        finding = problems()[subject]
        assert "others can write to it" in finding.finding
        assert "chmod 700" in finding.advice

    def test_one_that_others_can_only_read_is_none(self, folders):
        """What is stored there is authenticated, not secret."""
        os.chmod(folders / "dir", 0o755)
        assert found("cache directory").level == "ok"

    def test_one_that_is_not_there_yet_is_none(self, folders, monkeypatch):
        """And it is not made by looking at it."""
        monkeypatch.setenv("CACHEWRIGHT_DATA_DIR", str(folders / "later" / "still"))
        monkeypatch.setenv("CACHEWRIGHT_SIGNING_KEYS", "00112233445566778899aabbccddeeff" * 2)
        assert "not there yet" in found("key directory").finding
        assert not (folders / "later").exists()

    def test_a_file_or_a_link_in_its_place_is_a_problem(self, folders, monkeypatch):
        """It is not followed."""
        (folders / "file").write_text("")
        (folders / "link").symlink_to(folders / "dir")
        for name in ("file", "link"):
            monkeypatch.setenv("CACHEWRIGHT_DIR", str(folders / name))
            assert "not a directory" in problems()["cache directory"].finding

    def test_looking_changes_no_mode(self, folders):
        """The advice is left to the user."""
        os.chmod(folders / "dir", 0o770)
        examine()
        assert stat.S_IMODE((folders / "dir").stat().st_mode) == 0o770


class TestPlugins:
    """Broken plugins and engines."""

    def test_a_plugin_that_lacks_what_it_requires_is_a_problem(self, install):
        """With the name of what is missing."""
        install("needy", None)
        finding = problems()["plugin needy"]
        assert "a-distribution-nobody-has" in finding.finding
        assert "install what it needs" in finding.advice

    def test_a_disabled_plugin_is_a_note(self, monkeypatch, install):
        """It was asked for."""
        install("unwanted", NullEngine)
        monkeypatch.setenv(
            "CACHEWRIGHT_DISABLED_PLUGINS", "unwanted," + os.environ["CACHEWRIGHT_DISABLED_PLUGINS"]
        )
        default_registry().refresh()
        assert found("plugin unwanted").level == "note"
        assert "engine unwanted" not in [each.subject for each in examine()]

    def test_an_engine_that_forgets_is_a_problem(self, install):
        """It answers, but not with what was stored."""
        install("forgetful", NullEngine)
        assert "got None" in problems()["engine forgetful"].finding

    def test_an_engine_whose_server_is_away_is_a_note(self, install):
        """Nothing is wrong with the installation."""

        class Away(NullEngine):
            def set(self, key, value, /, *, ttl=None, size=1):
                raise EngineUnavailableError("away", "set", "nobody answers")

        install("away", Away)
        finding = found("engine away")
        assert (finding.level, finding.advice) == ("note", "not used until that is changed")
        assert "nobody answers" in finding.finding

    @pytest.mark.parametrize(
        "error", [ZeroDivisionError("surprise"), RecursionError(), OSError(5, "I/O error")], ids=repr
    )
    def test_an_engine_that_raises_what_it_must_not_is_a_problem(self, install, error):
        """And the others are looked at all the same."""

        class Wild(NullEngine):
            def get(self, key, /):
                raise error

        install("wild", Wild)
        finding = problems()["engine wild"]
        assert type(error).__name__ in finding.finding
        assert found("engine memory").level == "ok"


class TestCommand:
    """``cachewright doctor``."""

    def test_it_exits_with_1_exactly_if_there_is_a_problem(self, folders, capsys):
        """Notes are no problems."""
        assert main(["doctor"]) == OK
        if hasattr(os, "getuid"):
            os.chmod(folders / "dir", 0o770)
            assert main(["doctor"]) == FINDING
        assert "Traceback" not in capsys.readouterr().err

    def test_json_has_the_same_findings(self, capsys):
        """A list of records."""
        assert main(["doctor", "--json"]) == OK
        rows = json.loads(capsys.readouterr().out)
        assert [row["subject"] for row in rows] == [finding.subject for finding in examine()]
        assert {key for row in rows for key in row} == {"level", "subject", "finding", "advice"}

    def test_a_bad_setting_is_in_the_table(self, monkeypatch, capsys):
        """Not a line of complaint instead of it."""
        monkeypatch.setenv("CACHEWRIGHT_TIMEOUT", "soon")
        assert main(["doctor"]) == FINDING
        out, err = capsys.readouterr()
        assert "CACHEWRIGHT_TIMEOUT" in out
        assert err == ""
