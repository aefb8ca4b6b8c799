"""The key ring: which secrets it takes, that it never shows them, and the key file of the user."""

from __future__ import annotations

import base64
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cachewright._keyfile import KEY_FILE
from cachewright.envelope import Envelope
from cachewright.errors import ConfigurationError, EnvelopeError, UntrustedStoreError
from cachewright.keyring import KeyRing, user_ring

CANARY = b"canary-canary-canary-canary-canary-1"
OTHER = b"other-other-other-other-other-other-"


def sealed(ring: KeyRing) -> bytes:
    return b"".join(Envelope("n", ring=ring).seal("k", [b"value"], serializer=1, created=1.0))


def opens(ring: KeyRing, blob: bytes) -> bool:
    try:
        Envelope("n", ring=ring).open("k", blob, now=2.0)
    except EnvelopeError as refusal:
        assert refusal.reason == "unknown-key"
        return False
    return True


def test_the_first_key_signs_and_every_key_verifies() -> None:
    """After rotation old entries are read, new ones are sealed with the new key alone."""
    old, new, both = KeyRing([CANARY]), KeyRing([OTHER]), KeyRing([OTHER, CANARY])
    assert opens(both, sealed(old))
    assert opens(both, sealed(new))
    assert opens(new, sealed(both))
    assert not opens(old, sealed(both))


def test_sub_keys_differ_by_namespace_context_and_use() -> None:
    """No key of one namespace or application serves another, nor one algorithm the other."""
    ring = KeyRing([CANARY, OTHER])
    places = [("n", "cachewright"), ("m", "cachewright"), ("n", "other"), ("cachewright", "n")]
    keys = [key for place in places for key in ring.for_namespace(*place)]
    material = [key.blake2b for key in keys] + [key.hmac for key in keys]
    assert len(set(material)) == len(material) == 16
    assert len({key.key_id for key in keys}) == 8
    assert all(len(part) == 32 for part in material)


@pytest.mark.parametrize("size", [32, 64, 65, 1000])
def test_long_keys_count_in_full(size: int) -> None:
    """A key of any length from 32 bytes on is used to its last byte."""
    key, other = bytes(size), bytes(size - 1) + b"\1"
    assert opens(KeyRing([key]), sealed(KeyRing([key])))
    assert not opens(KeyRing([other]), sealed(KeyRing([key])))


def test_keys_are_read_as_hexadecimal_or_base64() -> None:
    """Hexadecimal, base64 and URL-safe base64, padded or not, with spaces round the commas."""
    raw = bytes(range(220, 256))
    ring = KeyRing([raw])
    texts = [
        raw.hex(),
        raw.hex().upper(),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
    ]
    for text in texts:
        assert opens(KeyRing.parse(f" {text} "), sealed(ring))
    unpadded = base64.b64encode(raw + b"x").decode().rstrip("=")
    assert opens(KeyRing.parse(f"{CANARY.hex()} , {unpadded}"), sealed(KeyRing([raw + b"x"])))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "key 1"),
        (",", "key 1"),
        (CANARY.hex() + ",", "key 2"),
        (CANARY.hex()[:62], "key 1 of 1 has 31"),
        (CANARY.hex() + "," + OTHER.hex()[:20], "key 2 of 2 has 10"),
        ("not a key at all: " + CANARY.decode(), "key 1 is neither"),
        ("schlüssel" * 9, "key 1 is neither"),
    ],
)
def test_unusable_keys_are_one_clear_error_that_shows_no_key(text: str, says: str) -> None:
    """The message names setting, origin and number of the key, never the key."""
    with pytest.raises(ConfigurationError) as caught:
        KeyRing.parse(text, origin="CACHEWRIGHT_SIGNING_KEYS")
    told = str(caught.value) + repr(caught.value) + repr(vars(caught.value))
    assert says in told
    assert "signing_keys" in told
    assert "CACHEWRIGHT_SIGNING_KEYS" in told
    assert caught.value.__cause__ is None
    assert "canary" not in told
    assert CANARY.hex()[:20] not in told


def test_short_and_absent_keys_are_refused() -> None:
    """A ring needs a key, and every key 32 bytes."""
    with pytest.raises(ConfigurationError, match="at least one key"):
        KeyRing([])
    with pytest.raises(ConfigurationError, match="key 2 of 2 has 31"):
        KeyRing([CANARY, CANARY[:31]])


def test_a_ring_shows_and_pickles_no_key() -> None:
    """Neither repr nor pickle of a ring, a sub-key or an envelope holds a secret."""
    ring = KeyRing([CANARY])
    (sub_key,) = ring.for_namespace("n")
    shown = repr(ring) + str(ring) + repr(sub_key) + repr(Envelope("n", ring=ring))
    assert "canary" not in shown
    assert CANARY.hex() not in shown
    assert sub_key.blake2b.hex() not in shown
    assert sub_key.hmac.hex() not in shown
    for secret in (ring, sub_key):
        with pytest.raises(TypeError, match="never pickled"):
            pickle.dumps(secret)


def test_the_user_ring_is_made_once(tmp_path: Path) -> None:
    """First use makes directory and file, for the owner alone; later uses read the same key."""
    place = tmp_path / "share" / "cachewright"
    blob = sealed(user_ring(place))
    assert opens(user_ring(place), blob)
    assert [path.name for path in place.iterdir()] == [KEY_FILE]
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / KEY_FILE).stat().st_mode) == 0o600
    assert not opens(user_ring(tmp_path / "elsewhere"), blob)


def test_the_umask_does_not_open_the_key_file(tmp_path: Path) -> None:
    """With the most permissive umask directory and file are still the owner's alone."""
    before = os.umask(0)
    try:
        user_ring(tmp_path / "data")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / KEY_FILE).stat().st_mode) == 0o600


def test_processes_that_race_for_the_first_use_share_one_key(tmp_path: Path) -> None:
    """Eight processes released at once end with the same key and leave no draft behind."""
    program = (
        "import sys; from pathlib import Path; from cachewright.keyring import user_ring\n"
        "print(flush=True); sys.stdin.readline()\n"
        "print(user_ring(Path(sys.argv[1])).for_namespace('n')[0].key_id.hex())"
    )
    place = tmp_path / "data"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for racer in racers:
        assert racer.stdout is not None
        racer.stdout.readline()
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    ids = {racer.communicate(timeout=60)[0].strip() for racer in racers}
    assert ids == {user_ring(place).for_namespace("n")[0].key_id.hex()}
    assert [path.name for path in place.iterdir()] == [KEY_FILE]


def test_a_lost_race_keeps_the_key_of_the_winner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that appears between looking and publishing is used, not replaced."""
    real_link = os.link

    def somebody_was_faster(draft: str, name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        (tmp_path / KEY_FILE).write_text(CANARY.hex())
        (tmp_path / KEY_FILE).chmod(0o600)
        real_link(draft, name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    tmp_path.chmod(0o700)
    monkeypatch.setattr("cachewright._keyfile.os.link", somebody_was_faster)
    assert opens(user_ring(tmp_path), sealed(KeyRing([CANARY])))
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def prepared(place: Path, text: str = CANARY.hex(), mode: int = 0o600) -> Path:
    place.mkdir(mode=0o700)
    file = place / KEY_FILE
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """A key that others may have read or written authenticates nothing."""
    prepared(tmp_path / "data", mode=mode)
    with pytest.raises(UntrustedStoreError, match=f"mode {mode:o}"):
        user_ring(tmp_path / "data")


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """In a directory that others may write, the key could be theirs."""
    prepared(tmp_path / "data")
    (tmp_path / "data").chmod(mode)
    with pytest.raises(UntrustedStoreError, match=f"mode {mode:o}.*chmod 700"):
        user_ring(tmp_path / "data")


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    """Neither the directory nor the key file may be a symbolic link."""
    file = prepared(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UntrustedStoreError, match="symbolic link"):
        user_ring(tmp_path / "link")
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / KEY_FILE).symlink_to(file)
    with pytest.raises(UntrustedStoreError, match="symbolic link"):
        user_ring(tmp_path / "data")


def test_a_pipe_in_the_place_of_the_key_file_does_not_hang(tmp_path: Path) -> None:
    """What is not a regular file is refused at once."""
    (tmp_path / "data").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "data" / KEY_FILE, 0o600)
    with pytest.raises(UntrustedStoreError, match="not a regular file"):
        user_ring(tmp_path / "data")


def test_a_foreign_owner_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of another user is refused, whatever its mode."""
    prepared(tmp_path / "data")
    monkeypatch.setattr("cachewright._keyfile.os.geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UntrustedStoreError, match="another user"):
        user_ring(tmp_path / "data")


@pytest.mark.parametrize("text", ["", "canary", CANARY.hex()[:60], "canary" * 20])
def test_a_damaged_key_file_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    """A file that holds no key is an error that says what to do and quotes nothing."""
    prepared(tmp_path / "data", text)
    with pytest.raises(UntrustedStoreError, match=r"holds no key.*remove it") as caught:
        user_ring(tmp_path / "data")
    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_directory_that_cannot_be_made_is_a_settings_error(tmp_path: Path) -> None:
    """Where the system refuses, the error names the setting to change."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="data_dir"):
        user_ring(tmp_path / "file" / "data")
    with pytest.raises(ConfigurationError, match="data_dir"):
        user_ring(tmp_path / "file")
