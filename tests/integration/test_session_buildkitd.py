"""Our client and a real buildkitd: what it builds, taken by us and by its own client, and exported by us."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
from pathlib import Path

import pytest

import tarcast
from tarcast.cli import main
from tarcast.daemon import Daemon as OurDaemon
from tarcast.session import connect
from tests.support.buildkit import Daemon
from tests.support.judge import archive_names, assert_same_archive
from tests.support.oracle import build_buildkit, build_oracle
from tests.support.sessions import GoClient, go_program


@pytest.fixture(scope="module")
def definition(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A marshalled definition that needs nothing of the client, and content of every size of message."""
    go_program()
    place = tmp_path_factory.mktemp("definition")
    for name, content in {
        "etc/motd": b"hello\n",
        "bin/tool": b"#!/bin/sh\n",
        "empty": b"",
        "data/one": os.urandom(1_500_000),
        "data/two": os.urandom(40_000),
        "mark-of-a-definition": b"",
    }.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(content)
    (place / "bin/tool").chmod(0o755)
    done = subprocess.run([build_oracle("buildkit/definition"), place], check=True, capture_output=True)
    return done.stdout


@pytest.fixture(scope="module")
def address(buildkitd: Daemon) -> str:
    return f"unix://{buildkitd.place}/socket"


@pytest.mark.parametrize("via", ["control", "auto"])
def test_our_client_receives_from_buildkitd(via: str, definition: bytes, address: str, place: Path) -> None:
    (place / "app.llb").write_bytes(definition)
    with GoClient(address, "-definition", place / "app.llb", "-out", place / "want.tar") as client:
        assert client.answer()["Error"] == ""
    want = (place / "want.tar").read_bytes()
    assert b"data/one" in archive_names(want)
    with connect(address, via=via) as client:
        received = client.build(place / "got.tar", definition)
        assert received.bytes_written == len(want)
        assert received.entries is None
        assert_same_archive((place / "got.tar").read_bytes(), want)
        again = io.BytesIO()
        client.build(again, definition, attrs={"source-date-epoch": "5"})
        assert len(again.getvalue()) == len(want)
        assert again.getvalue() != want


def test_one_archive_by_every_way(definition: bytes, address: str, buildkitd: Daemon, place: Path) -> None:
    """From buildkitd to us, from us to its own client, written directly: the same bytes."""
    digests = {}
    with connect(address, via="control") as client:
        client.build(place / "buildkitd.tar", definition)
    (layer,) = buildkitd.layers("mark-of-a-definition")
    built = tarcast.OverlayRef([os.fspath(layer)])
    with tarcast.mounted(built) as tree:
        tarcast.write_tar(tree, place / "direct.tar")
    with OurDaemon({"built": built}) as daemon:
        where = daemon.listen(f"unix://{place}/s")
        for via in ("upgrade", "control"):
            with GoClient(where, "-via", via, "-out", place / f"{via}.tar", tree="built") as client:
                assert client.answer()["Error"] == ""
    for name in ("buildkitd", "direct", "upgrade", "control"):
        digests[name] = hashlib.sha256((place / f"{name}.tar").read_bytes()).hexdigest()
    assert len(set(digests.values())) == 1, digests


def test_what_cannot_be_built(address: str, place: Path) -> None:
    with connect(address, via="control") as client:
        with pytest.raises(tarcast.DaemonError):
            client.build(place / "out.tar", b"\x0a\x05wrong")
        with pytest.raises(tarcast.DaemonError, match="nosuch"):
            client.build(place / "out.tar", frontend="nosuch")
        with pytest.raises(tarcast.DaemonError, match="tarcast"):
            client.export("tree", place / "out.tar")
    assert os.listdir(place) == []
    with pytest.raises(tarcast.DaemonError, match="cannot upgrade a connection"):
        connect(address, via="upgrade")


def test_buildctl_asks_our_daemon(place: Path) -> None:
    """It has its own way: the gateway's API."""
    (place / "tree").mkdir()
    (place / "tree/file").write_bytes(os.urandom(3_000_000))
    tarcast.write_tar(place / "tree", place / "want.tar", epoch=7)
    buildctl = build_buildkit() / "buildctl"
    with OurDaemon({"tree": place / "tree"}) as daemon:
        address = daemon.listen(f"unix://{place}/s")

        def build(*words: str) -> subprocess.CompletedProcess[str]:
            output = f"type=tar,dest={place}/got.tar,source-date-epoch=7"
            command = [buildctl, "--addr", address, "build", "--output", output, "--progress=plain", *words]
            return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)

        done = build("--frontend=tarcast", "--opt=tree=tree")
        assert done.returncode == 0, done.stderr
        assert "exporting tree to client tarball" in done.stderr
        assert_same_archive((place / "got.tar").read_bytes(), (place / "want.tar").read_bytes())
        for words, error in (
            (["--frontend=tarcast", "--opt=tree=x"], "there is no tree 'x'; there are tree"),
            (["--frontend=tarcast", "--opt=path=/etc"], "unknown option 'path'"),
            (["--frontend=dockerfile.v0"], "frontend 'dockerfile.v0' cannot be built"),
        ):
            done = build(*words)
            assert done.returncode != 0
            assert error in done.stderr


def test_from_the_shell(
    definition: bytes, address: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "app.llb").write_bytes(definition)
    with connect(address, via="control") as client:
        client.build(place / "want.tar", definition)
    words = ["build-export", "--addr", address, "--definition", os.fspath(place / "app.llb")]
    assert main([*words, "-o", os.fspath(place / "got.tar")]) == 0
    assert_same_archive((place / "got.tar").read_bytes(), (place / "want.tar").read_bytes())
    assert "got.tar: 1.5" in capsys.readouterr().err
    (place / "bad.llb").write_bytes(b"\x0a\x05wrong")
    words[-1] = os.fspath(place / "bad.llb")
    assert main([*words, "-o", os.fspath(place / "none.tar")]) == 3
    assert not (place / "none.tar").exists()
