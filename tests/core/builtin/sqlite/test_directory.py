"""The directory of a store is private, and nobody else can lead it astray."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cachewright._filesystem import NETWORK_TYPES, type_of
from cachewright.builtin.sqlite import values
from cachewright.engine import MappedBlob
from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError, UntrustedStoreError

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: changing the owner of a file")


@pytest.fixture(params=[0, 0o022, 0o777], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_modes(open_engine, content, tmp_path, umask):
    """Directories are 0700 and files 0600, whatever the umask, missing parents included."""
    engine = open_engine(path=tmp_path / "a" / "store") if os.umask(0o022) != 0o777 else open_engine()
    engine.set("k", (b"L" * 100_000,))
    assert content(engine.get("k")) == b"L" * 100_000
    made = list(tmp_path.rglob("*"))
    assert len(made) > 6
    for path in made:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert engine.private


def test_umask_zero_from_the_first_moment(open_engine, tmp_path):
    """With no umask at all nothing is open to others."""
    before = os.umask(0)
    try:
        open_engine(path=tmp_path / "a" / "b").set("k", (b"L" * 100_000,))
    finally:
        os.umask(before)
    assert all(not path.stat().st_mode & 0o077 for path in tmp_path.rglob("*"))


def test_markers(open_engine, tmp_path):
    """A directory made by the engine is marked as a cache; one that was there is not touched."""
    open_engine()
    assert (tmp_path / "store" / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172")
    assert (tmp_path / "store" / ".gitignore").read_text() == "*\n"
    (tmp_path / "given").mkdir()
    open_engine(path=tmp_path / "given")
    assert not (tmp_path / "given" / ".gitignore").exists()


@pytest.mark.parametrize(("mode", "private"), [(0o700, True), (0o755, False), (0o777, False), (0o770, False)])
def test_private_follows_the_mode(open_engine, tmp_path, mode, private):
    """A given directory that others have any access to can be used, but is not private."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(mode)
    engine = open_engine()
    assert engine.private is private
    engine.set("k", (b"1",))
    assert engine.get("k") == b"1"


@pytest.mark.parametrize(("mode", "mapped"), [(0o700, True), (0o777, False)])
def test_only_private_files_are_mapped(open_engine, tmp_path, mode, mapped):
    """Where others can write, a verified map could change: a large value is copied instead."""
    folder = tmp_path / "store"
    folder.mkdir()
    folder.chmod(mode)
    engine = open_engine()
    engine.set("ab", [b"x" * 200_000])
    blob = engine.get("ab")
    assert isinstance(blob, MappedBlob) is mapped
    assert bytes(getattr(blob, "view", blob)) == b"x" * 200_000


@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_beyond_the_bound_on_maps_values_are_read(open_engine, tmp_path, monkeypatch, mode):
    """A large value that is not mapped is copied, whether the store is private or not."""
    monkeypatch.setattr(values, "MOST_MAPS", 0)
    folder = tmp_path / "store"
    folder.mkdir()
    folder.chmod(mode)
    engine = open_engine()
    engine.set("ab", [b"x" * 200_000])
    assert engine.get("ab") == b"x" * 200_000


def test_two_paths_to_one_directory(open_engine, tmp_path, monkeypatch):
    """A link of one's own and a relative path lead to the same store."""
    engine = open_engine()
    engine.set("k", (b"1",))
    (tmp_path / "link").symlink_to(tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    linked, relative = open_engine(path=tmp_path / "link"), open_engine(path=Path("store"))
    assert linked.get("k") == relative.get("k") == b"1"
    assert engine._store is linked._store is relative._store
    assert linked.private


@ROOT
def test_foreign_directory(open_engine, tmp_path):
    """Another user's directory, or their link, is refused unless it is declared as trusted."""
    (tmp_path / "store").mkdir()
    os.chown(tmp_path / "store", 12345, 12345)
    with pytest.raises(UntrustedStoreError, match="trust_directory"):
        open_engine()
    assert open_engine(options={"trust_directory": True}).private is False
    (tmp_path / "link").symlink_to(tmp_path)
    os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
    with pytest.raises(UntrustedStoreError, match="another user's symbolic link"):
        open_engine(path=tmp_path / "link")


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_links_in_place_of_store_files(open_engine, tmp_path, suffix):
    """A symbolic link where an index file should be is refused, and its target stays as it is."""
    open_engine().close()
    index = next((tmp_path / "store").glob("index-v1-*.sqlite3"))
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    link = index.with_name(index.name + suffix)
    link.unlink(missing_ok=True)
    link.symlink_to(victim)
    with pytest.raises(UntrustedStoreError, match="symbolic link"):
        open_engine()
    assert victim.read_bytes() == b"precious"


def test_second_names_and_open_modes_of_store_files(open_engine, tmp_path):
    """An index that has a second name, or that others may write, is refused."""
    open_engine().close()
    index = next((tmp_path / "store").glob("index-v1-*.sqlite3"))
    os.link(index, tmp_path / "second")
    with pytest.raises(UntrustedStoreError, match="second name"):
        open_engine()
    (tmp_path / "second").unlink()
    index.chmod(0o666)
    with pytest.raises(UntrustedStoreError, match="other users can write"):
        open_engine()


def test_links_in_place_of_folders(open_engine, tmp_path):
    """A symbolic link instead of a folder of values is neither read nor written through."""
    from cachewright.errors import EngineError

    engine = open_engine()
    engine.set("k", (b"L" * 100_000,))
    file = next((tmp_path / "store").glob("values-v1/*/*"))
    file.parent.rename(tmp_path / "elsewhere")
    file.parent.symlink_to(tmp_path / "elsewhere")
    engine.close()
    engine = open_engine()
    assert engine.get("k") is MISSING
    with pytest.raises(EngineError):
        engine.set("k", (b"L" * 100_000,))
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


MOUNTS = r"""
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/share rw - nfs4 server:/x rw
31 30 0:41 / /mnt/share/local rw - xfs /dev/sdb rw
32 22 0:42 / /mnt/with\040space rw shared:1 - fuse.sshfs h:/ rw
garbage
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/data/x", "ext4"), ("/mnt/share", "nfs4"), ("/mnt/share/a/b", "nfs4"), ("/mnt/shared", "ext4"),
     ("/mnt/share/local/a", "xfs"), ("/mnt/with space/a", "fuse.sshfs")],
)  # fmt: skip
def test_type_of_a_file_system(path, kind):
    """The innermost mount that holds a path decides."""
    assert type_of(path, MOUNTS) == kind
    assert (kind in NETWORK_TYPES) is (kind in {"nfs4", "fuse.sshfs"})


def test_network_file_systems_are_refused(open_engine, monkeypatch, tmp_path):
    """The error says what to use instead."""
    mine = type_of(os.path.realpath(tmp_path), Path("/proc/self/mountinfo").read_text())
    monkeypatch.setattr("cachewright._filesystem.NETWORK_TYPES", {mine})
    with pytest.raises(ConfigurationError, match="redis"):
        open_engine()
