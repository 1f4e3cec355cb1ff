"""What either side is told where the two do not agree on TLS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tarcast.daemon import TLS, Daemon
from tarcast.errors import DaemonError
from tarcast.session import connect
from tests.support.certificates import make_certificates
from tests.support.faults import command
from tests.support.sessions import VIAS, Log

Certificates = Callable[[str], TLS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    make_certificates(made)
    return made


@pytest.fixture(scope="module")
def tls(folder: Path) -> Certificates:
    return lambda name: TLS(ca=f"{folder}/ca.pem", cert=f"{folder}/{name}.pem", key=f"{folder}/{name}.key")


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def daemon(tmp_path: Path, log: Log) -> Iterator[Daemon]:
    with Daemon({"tree": tmp_path}, say=log) as daemon:
        yield daemon


def refused(address: str, via: str = "auto", tls: TLS | None = None) -> DaemonError:
    with pytest.raises(DaemonError) as caught, connect(address, via=via, tls=tls):
        pass
    assert caught.value.path == address
    return caught.value


def test_a_certificate_that_is_refused(daemon: Daemon, log: Log, tls: Certificates) -> None:
    address = daemon.listen("tcp://127.0.0.1:0", tls=tls("server"))
    error = refused(address, tls=tls("outsider"))
    assert "the daemon refuses this certificate: " in error.message
    assert (error.step, error.hint) == ("open session", "")
    log.wait("certificate verify failed")
    assert len(log.lines) == 1  # it was not tried again by the control API
    error = refused(address, "control", tls("outsider"))
    assert error.hint == "is the daemon running, does it speak TLS, does it take this certificate?"


@pytest.mark.parametrize("via", ["auto", "control"])
def test_a_client_without_tls(daemon: Daemon, tls: Certificates, via: str) -> None:
    address = daemon.listen("tcp://127.0.0.1:0", tls=tls("server"))
    assert refused(address, via).hint == "is the daemon running, and does it want TLS?"


@pytest.mark.parametrize("via", VIAS)
def test_a_daemon_without_tls(daemon: Daemon, log: Log, tls: Certificates, via: str) -> None:
    address = daemon.listen("tcp://127.0.0.1:0", insecure=True)
    began = time.monotonic()
    assert "speak TLS" in refused(address, via, tls("client")).hint
    assert time.monotonic() - began < 5  # and not when the daemon has waited for long enough
    log.wait("a connection failed: refused: the client wants TLS, and there is none here")


def test_grpc_does_not_talk_beside_the_program(daemon: Daemon, tls: Certificates, folder: Path) -> None:
    address = daemon.listen("tcp://127.0.0.1:0", tls=tls("server"))
    files = ("--tlscacert", "ca.pem", "--tlscert", "outsider.pem", "--tlskey", "outsider.key")
    words = ("build-export", "--addr", address, "--frontend", "x", "-o", "out.tar", *files)
    done = command(*words, cwd=folder)
    assert done.returncode == 3
    assert done.stderr.startswith(b"tarcast: error: ")
    assert done.stderr.count(b"\n") == 1
