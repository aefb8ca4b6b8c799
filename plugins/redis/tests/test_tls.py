"""Encrypted connections: authorities, certificates of clients, names of hosts, tickets; on every layout."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cachewright.entry import MISSING
from cachewright.errors import ConfigurationError, EngineUnavailableError

Opener = Callable[..., Any]

KEY = "0f" * 16
OTHER = "1f" * 16


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Every test of this module is one of both engines."""
    return str(request.param)


@pytest.fixture(scope="module")
def kind() -> str:
    """The one kind of server that is built with TLS."""
    return "redis-server"


def make_certificate(directory: Path, name: str, *, names: str = "", authority: str = "") -> None:
    """Make a key and a certificate, one's own authority or signed by one that was made before."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
    if authority:
        command += ["-CA", f"{authority}.crt", "-CAkey", f"{authority}.key"]
        command += ["-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True, cwd=directory)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of certificates: of two authorities, of servers here and elsewhere, of clients of both."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on PATH")
    directory = tmp_path_factory.mktemp("papers")
    for authority in ("ca", "stranger"):
        make_certificate(directory, authority)
    make_certificate(directory, "here", names="DNS:localhost,IP:127.0.0.1", authority="ca")
    make_certificate(directory, "elsewhere", names="DNS:elsewhere.example", authority="ca")
    make_certificate(directory, "client", names="DNS:client", authority="ca")
    make_certificate(directory, "intruder", names="DNS:client", authority="stranger")
    return directory


@pytest.fixture(scope="module")
def start_tls(papers: Path, start_shared: Callable[..., Any], new_port: Callable[[], int]) -> Any:
    """Starts a server that speaks TLS, with a certificate; returns it and its encrypted port."""

    def start(name: str, *arguments: str) -> tuple[Any, int]:
        port = new_port()
        files = {"cert-file": f"{name}.crt", "key-file": f"{name}.key", "ca-cert-file": "ca.crt"}
        options = [word for what, file in files.items() for word in (f"--tls-{what}", str(papers / file))]
        return start_shared("--tls-port", str(port), *options, *arguments), port

    return start


@pytest.fixture(scope="module")
def here(start_tls: Any) -> tuple[Any, int]:
    """A server whose certificate is for this host, and its port."""
    started: tuple[Any, int] = start_tls("here")
    return started


def parameters(papers: Path, client: str = "client", authority: str = "ca", **more: str) -> str:
    """Return the parameters of a url that name the files."""
    files = {"ssl_ca_certs": f"{authority}.crt"} if authority else {}
    if client:
        files |= {"ssl_certfile": f"{client}.crt", "ssl_keyfile": f"{client}.key"}
    named = {name: str(papers / file) for name, file in files.items()} | more
    return "&".join(f"{name}={value}" for name, value in named.items())


@pytest.mark.parametrize("protocol", ["2", "3"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_every_operation_is_encrypted(
    here: tuple[Any, int], papers: Path, opened: Opener, protocol: str, host: str
) -> None:
    """With the right authority and certificate every operation works, for values of any size."""
    engine = opened(url=f"rediss://{host}:{here[1]}?{parameters(papers, protocol=protocol)}")
    for value in (b"", b"small", bytes(range(256)) * 4_000):
        assert engine.set(KEY, [value]) is True
        assert engine.get(KEY) == value
        assert engine.compare_and_set(KEY, value, [value, b"!"]) is True
        assert engine.get_many([KEY, OTHER]) == {KEY: value + b"!"}
    assert list(engine.keys()) == [KEY]
    assert engine.delete(KEY) is True
    engine.clear()


def test_tickets_are_no_answers(here: tuple[Any, int], papers: Path, opened: Opener) -> None:
    """What a server sends after the handshake, at any time, is not taken for an answer that nobody read."""
    for _ in range(6):
        engine = opened(url=f"rediss://localhost:{here[1]}?{parameters(papers)}")
        engine.set_many([(KEY, [b"a"], None, 1)])
        assert engine.get(KEY) == b"a"
        assert engine.set(OTHER, [bytes(100_000)]) is True
        assert engine.get_many([KEY]) == {KEY: b"a"}
        engine.close()


def test_a_restart_goes_unnoticed(start_tls: Any, papers: Path, opened: Opener) -> None:
    """A connection that the server closed while it lay idle is replaced, not used."""
    server, port = start_tls("here")
    engine = opened(url=f"rediss://localhost:{port}?{parameters(papers)}")
    for _ in range(2):
        assert engine.set(KEY, [b"a"]) is True
        server.kill()
        server.start()
        assert engine.get(KEY) is MISSING


@pytest.mark.parametrize(
    ("client", "authority", "expected"),
    [
        ("client", "stranger", "ssl_ca_certs="),
        ("client", "", "ssl_ca_certs="),
        ("", "ca", "ssl_certfile="),
        ("intruder", "ca", "ssl_certfile="),
    ],
)
def test_wrong_papers(
    here: tuple[Any, int], papers: Path, opened: Opener, client: str, authority: str, expected: str
) -> None:
    """An unknown authority on either side, or no certificate, is one clear error that names what to give."""
    engine = opened(url=f"rediss://localhost:{here[1]}?{parameters(papers, client, authority)}")
    for run in (lambda: engine.get(KEY), lambda: engine.set_many([(KEY, [b"a"], None, 1)])):
        with pytest.raises(EngineUnavailableError, match=expected):
            run()


def test_names_of_hosts_are_checked(start_tls: Any, papers: Path, opened: Opener) -> None:
    """A certificate for another host is refused, unless the url asks not to look at the name."""
    _, port = start_tls("elsewhere")
    for host, expected in (("localhost", "another host name"), ("127.0.0.1", "does not name this address")):
        with pytest.raises(EngineUnavailableError, match=expected):
            opened(url=f"rediss://{host}:{port}?{parameters(papers)}").get(KEY)
    trusting = parameters(papers, ssl_check_hostname="false")
    assert opened(url=f"rediss://localhost:{port}?{trusting}").set(KEY, [b"a"]) is True
    with pytest.raises(EngineUnavailableError, match="ssl_ca_certs="):
        stranger = parameters(papers, authority="stranger", ssl_check_hostname="false")
        opened(url=f"rediss://localhost:{port}?{stranger}").get(KEY)
    blind = parameters(papers, authority="", ssl_cert_reqs="none")
    assert opened(url=f"rediss://localhost:{port}?{blind}").get(KEY) == b"a"


def test_a_file_that_does_not_exist(papers: Path, opened: Opener) -> None:
    """A missing file is noticed when the engine is opened, and is named."""
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        with pytest.raises(ConfigurationError, match=f"{name} to name a file"):
            opened(url=f"rediss://user:canary@localhost?{name}={papers}/none")


def test_a_server_that_speaks_something_else(here: tuple[Any, int], papers: Path, opened: Opener) -> None:
    """Encrypted to a plain port, or plain to an encrypted one, is an error in time."""
    server, port = here
    with pytest.raises(EngineUnavailableError, match="speaks TLS"):
        opened(url=f"rediss://localhost:{server.port}?{parameters(papers)}", timeout=0.2).get(KEY)
    with pytest.raises(EngineUnavailableError):
        opened(url=f"redis://localhost:{port}", timeout=2.0).get(KEY)


def test_a_cluster_and_sentinels_too(start_tls: Any, papers: Path, opened: Opener, eventually: Any) -> None:
    """Nodes of a cluster, sentinels, and the primary that they name are all talked to in TLS."""
    node, port = start_tls("here", "--cluster-enabled", "yes", "--tls-cluster", "yes")
    with node.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        assert eventually(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
    _, primary = start_tls("here")
    sentinel, guide = start_tls("here", "--tls-replication", "yes", "--sentinel")
    with sentinel.client() as client:
        client.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", primary, 1)
    for url in (f"rediss+cluster://127.0.0.1:{port}", f"rediss+sentinel://127.0.0.1:{guide}/main"):
        engine = opened(url=f"{url}?{parameters(papers)}")
        assert engine.set(KEY, [b"a"]) is True
        assert engine.get_many([KEY, OTHER]) == {KEY: b"a"}
