"""Archives over the wire: BuildKit's own client and ours take them from `tarcast.daemon`, byte for byte."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tarcast
from tarcast import progress
from tarcast.daemon import TLS, Daemon
from tarcast.session import connect
from tests.support.files import remove_tree
from tests.support.judge import assert_same_archive
from tests.support.rich import RICH
from tests.support.sessions import VIAS, GoClient, Serving, background, go_program, make_tree
from tests.support.trees import make_tree as make_nodes


@pytest.fixture(scope="module")
def trees(scratch: Path, needs_root: None) -> Iterator[Path]:
    go_program()
    place = scratch / "session-trees"
    place.mkdir()
    rich = place / "rich"
    rich.mkdir()
    make_nodes(RICH, os.fsencode(rich))
    make_tree(place / "large", 9 << 20)
    make_tree(place / "modest", 1 << 20)
    (place / "empty").mkdir()
    # gRPC keeps a few descriptors from its first call on.
    with Daemon({"empty": place / "empty"}) as daemon:
        address = daemon.listen("tcp://127.0.0.1:0", insecure=True)
        with connect(address) as client:
            client.export("empty", io.BytesIO())
    yield place
    remove_tree(place)


def written(tree: object, **options: object) -> bytes:
    out = io.BytesIO()
    tarcast.write_tar(tree, out, **options)
    return out.getvalue()


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("name", ["rich", "large", "empty", "layers"])
def test_the_original_client_gets_the_same_bytes(via: str, name: str, trees: Path) -> None:
    exports = {
        **{one: trees / one for one in ("rich", "large", "empty")},
        "layers": tarcast.OverlayRef([trees / "rich", trees / "large"]),
    }
    if name == "layers":
        with tarcast.mounted(exports[name]) as tree:
            want = written(tree)
    else:
        want = written(trees / name)
    with Serving(exports, trees / "empty") as serving:
        out = serving.place / "got.tar"
        with GoClient(serving.address, "-via", via, "-out", out, "-hash", tree=name) as client:
            answer = client.answer()
        assert answer["Error"] == ""
        assert_same_archive(out.read_bytes(), want)
        assert answer["Files"][0]["SHA256"] == hashlib.sha256(want).hexdigest()
        assert answer["Files"][0]["Closed"]
        assert answer["Vertexes"][-1] == f"exporting {name} to client tarball|true|"
        if name == "large":
            # Messages are large, but within the limit of every gRPC receiver.
            assert 1000 << 10 < answer["Files"][0]["Largest"] < 4 << 20


@pytest.mark.parametrize("via", VIAS)
def test_attributes_and_several_outputs(via: str, trees: Path) -> None:
    with Serving({"rich": trees / "rich"}, trees / "empty") as serving:
        out = serving.place / "got.tar"
        words = ["-via", via, "-out", out, "-outputs", 3, "-attr", "source-date-epoch=1700000000"]
        with GoClient(serving.address, *words, tree="rich") as client:
            assert client.answer()["Error"] == ""
        want = written(trees / "rich", epoch=1700000000)
        for name in ("got.tar", "got.tar.1", "got.tar.2"):
            assert_same_archive((serving.place / name).read_bytes(), want)


def test_the_epoch_of_a_build_argument(trees: Path) -> None:
    with Serving({"rich": trees / "rich"}, trees / "empty") as serving:
        out = serving.place / "got.tar"
        words = ["-out", out, "-opt", "build-arg:SOURCE_DATE_EPOCH=5"]
        with GoClient(serving.address, *words, tree="rich") as client:
            assert client.answer()["Error"] == ""
        assert_same_archive(out.read_bytes(), written(trees / "rich", epoch=5))


@pytest.mark.parametrize("via", ["auto", *VIAS])
def test_our_client_and_every_kind_of_target(via: str, trees: Path) -> None:
    want = written(trees / "large")
    with Serving({"large": trees / "large"}, trees / "empty") as serving:
        path, opened, several = (serving.place / name for name in ("path", "opened", "several"))
        memory = io.BytesIO()
        told: list[dict[str, str]] = []

        def opener(metadata: dict[str, str]) -> io.BufferedWriter:
            told.append(metadata)
            return open(opened, "wb")

        with connect(serving.address, via=via) as client:
            received = client.export("large", path)
            assert (received.bytes_written, received.entries) == (len(want), 12)
            client.export("large", memory)
            client.export("large", opener)
            client.export("large", {0: os.fspath(several), 1: io.BytesIO()})
        assert path.read_bytes() == opened.read_bytes() == several.read_bytes() == memory.getvalue() == want
        assert told == [{}]


def test_progress_and_the_end_of_a_session(trees: Path) -> None:
    reports: list[tarcast.Progress] = []
    slow = tarcast.Tree(trees / "large", map=_slowly)
    with Serving({"slow": slow}, trees / "empty") as serving:
        with connect(serving.address) as client:
            client.export("slow", io.BytesIO(), progress=reports.append)
            assert not client.closed
        assert client.closed
        with pytest.raises(tarcast.DaemonError, match=f"session {client.id} has ended: the client closed it"):
            client.export("slow", io.BytesIO())
        client.close()
    assert reports[-1].done
    assert reports[-1].entries is None
    sizes = [report.bytes_written for report in reports]
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(written(trees / "large"))


def _slowly(entry: tarcast.Entry) -> tarcast.Entry:
    threading.Event().wait(0.02)
    return entry


def test_an_exporter_of_ones_own_sends_to_a_session_over_the_wire(trees: Path) -> None:
    """The daemon's sessions are those of any TarExporter."""
    with Serving({}, trees / "empty") as serving:
        out = serving.place / "got.tar"
        with GoClient(serving.address, "-via", "upgrade", "-id", "me", "-out", out):
            session = serving.manager.get("prefix:me")
            assert session.shared_key == "shared key with ü"
            assert session.supports("/moby.filesync.v1.filesend/diffcopy")
            source = tarcast.Source(ref=tarcast.Tree(trees / "rich", exclude=["links"]))
            reader, writer = progress.pipe()
            instance = tarcast.TarExporter(serving.manager).resolve(0, {"source-date-epoch": "7"})
            instance.export(source, "me", writer)
            writer.close()
            assert [update.status.completed is not None for update in reader][-1]
        want = written(tarcast.Tree(trees / "rich", exclude=["links"]), epoch=7)
        assert_same_archive(out.read_bytes(), want)


def test_two_hundred_sessions_twenty_at_a_time(trees: Path) -> None:
    want = hashlib.sha256(written(trees / "modest")).hexdigest()
    with Serving({"modest": trees / "modest"}, trees / "empty") as serving:

        def one(number: int) -> str:
            with connect(serving.address, via=VIAS[number % 2]) as client:
                out = io.BytesIO()
                client.export("modest", out)
                return hashlib.sha256(out.getvalue()).hexdigest()

        with ThreadPoolExecutor(20) as pool:
            assert set(pool.map(one, range(200))) == {want}


def test_the_socket_is_for_its_user_alone_and_goes(trees: Path, place: Path) -> None:
    path = place / "socket"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(os.fspath(path))
    stale.close()  # its name stays, as after a kill
    with Daemon({"empty": trees / "empty"}) as daemon:
        assert daemon.listen(f"unix://{path}") == f"unix://{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with Daemon({"empty": trees / "empty"}) as second:
            with pytest.raises(tarcast.OutputError, match="somebody listens there already"):
                second.listen(f"unix://{path}")
            (place / "file").touch()
            with pytest.raises(tarcast.OutputError, match="is there already, and no socket"):
                second.listen(f"unix://{place}/file")
            with pytest.raises(tarcast.OutputError, match="ENOENT"):
                second.listen(f"unix://{place}/none/socket")
        assert path.exists()
    assert sorted(os.listdir(place)) == ["file"]
    daemon.close()
    with pytest.raises(tarcast.OptionError, match="the daemon is closed"):
        daemon.listen(f"unix://{path}")


def test_tcp_needs_certificates_or_a_word(trees: Path) -> None:
    with Daemon({"empty": trees / "empty"}) as daemon:
        with pytest.raises(
            tarcast.OptionError, match="listening on TCP needs TLS certificates of both sides"
        ):
            daemon.listen("tcp://127.0.0.1:0")
        address = daemon.listen("tcp://127.0.0.1:0", insecure=True)
        assert not address.endswith(":0")
        for via in VIAS:
            with connect(address, via=via) as client:
                out = io.BytesIO()
                client.export("empty", out)
                assert out.getvalue() == bytes(1024)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Files for TLS: of the daemon, of a client, and of a stranger whom another authority signed."""
    place = tmp_path_factory.mktemp("certificates")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=place)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made = {}
    for authority in ("ca", "other"):
        subject = f"/CN={authority}"
        openssl(
            "req", "-x509", *new, "-keyout", f"{authority}.key", "-out", f"{authority}.pem", "-subj", subject
        )
    for name, authority in (("daemon", "ca"), ("client", "ca"), ("stranger", "other")):
        openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (place / "extensions").write_text("subjectAltName=DNS:daemon.test,IP:127.0.0.1\n")
        signed = ["-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial"]
        openssl(
            "x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.pem", "-extfile", "extensions"
        )
        made[name] = {"ca": f"{place}/ca.pem", "cert": f"{place}/{name}.pem", "key": f"{place}/{name}.key"}
    return made


def test_tls_of_both_sides(trees: Path, place: Path, certificates: dict[str, dict[str, str]]) -> None:
    want = written(trees / "large")
    said: list[str] = []
    with Daemon({"large": trees / "large"}, say=said.append) as daemon:
        address = daemon.listen("tcp://127.0.0.1:0", tls=TLS(**certificates["daemon"]))
        for via in VIAS:
            for name in ("", "daemon.test"):
                with connect(address, via=via, tls=TLS(**certificates["client"], server_name=name)) as client:
                    out = io.BytesIO()
                    client.export("large", out)
                    assert out.getvalue() == want
        mine = certificates["client"]
        words = ["-tlscacert", mine["ca"], "-tlscert", mine["cert"], "-tlskey", mine["key"]]
        with GoClient(address, *words, "-out", place / "go.tar", tree="large") as client:
            assert client.answer()["Error"] == ""
        assert (place / "go.tar").read_bytes() == want

        for via in VIAS:
            for options in ({"tls": TLS(**certificates["stranger"])}, {"timeout": 2}):  # the latter: no TLS
                with pytest.raises(tarcast.DaemonError), connect(address, via=via, **options) as client:
                    client.export("large", place / "none.tar")
        wrong = TLS(**certificates["client"], server_name="other.test")
        with pytest.raises(tarcast.DaemonError, match=r"no TLS with the daemon: .*other\.test"):
            connect(address, via="upgrade", tls=wrong)
        assert not (place / "none.tar").exists()
        assert any("a connection failed: " in text for text in said)
        with connect(address, tls=TLS(**mine)) as client:  # it lives on
            client.export("large", io.BytesIO())


def test_what_makes_no_sense_is_refused_at_once(trees: Path, certificates: dict[str, dict[str, str]]) -> None:
    for exports in ({}, {"": trees}, {"a\n": trees}, {"a": 5}, ["a"]):
        with pytest.raises(tarcast.OptionError):
            Daemon(exports)
    for options in ({"max_exports": 0}, {"threads": 0}, {"session_timeout": -1}):
        with pytest.raises(tarcast.OptionError):
            Daemon({"a": trees}, **options)
    for options in ({"via": "pigeon"}, {"timeout": 0}):
        with pytest.raises(tarcast.OptionError):
            connect("unix:///nowhere", **options)
    with pytest.raises(tarcast.OptionError, match="cannot read the TLS key"):
        TLS(**certificates["client"] | {"key": "/nowhere"})
    with pytest.raises(tarcast.OptionError, match="the TLS key does not go with"):
        TLS(**certificates["client"] | {"key": certificates["daemon"]["key"]})


def test_a_request_that_makes_no_sense(trees: Path) -> None:
    with Serving({"rich": trees / "rich"}, trees / "empty") as serving, connect(serving.address) as client:
        for words, error, code in (
            ({"tree": "riches"}, "there is no tree 'riches'; there are rich, small", "NOT_FOUND"),
            ({"attrs": {"dest": "x"}}, "unknown attribute 'dest'", "INVALID_ARGUMENT"),
            ({"attrs": {"source-date-epoch": "now"}}, "must be whole seconds", "INVALID_ARGUMENT"),
        ):
            with pytest.raises(tarcast.DaemonError, match=error) as caught:
                client.export(**{"tree": "rich", "target": io.BytesIO()} | words)
            assert caught.value.code == code
        with pytest.raises(
            tarcast.DaemonError, match="a definition cannot be built: this daemon exports trees"
        ):
            client.build(io.BytesIO(), b"\x0a\x00")
        with pytest.raises(tarcast.DaemonError, match=r"frontend 'dockerfile\.v0' cannot be built"):
            client.build(io.BytesIO(), frontend="dockerfile.v0")
        with pytest.raises(tarcast.OptionError, match="one of both"):
            client.build(io.BytesIO())
        with pytest.raises(tarcast.OutputError, match="ENOENT"):
            client.export("rich", serving.place / "none" / "out.tar")
        with pytest.raises(tarcast.OptionError, match="numbered from 0 on"):
            client.export("rich", {1: io.BytesIO()})
        client.export("rich", io.BytesIO())  # the session is as good as before


def test_too_many_exports_at_once(trees: Path, place: Path) -> None:
    slow = tarcast.Tree(trees / "large", map=_slowly)
    with (
        Daemon({"slow": slow}, max_exports=1) as daemon,
        connect(address := daemon.listen(f"unix://{place}/s")) as first,
        connect(address) as second,
    ):
        begun = threading.Event()
        running = background(
            first.export, "slow", io.BytesIO(), progress=lambda report: report.bytes_written and begun.set()
        )
        assert begun.wait(10)
        with pytest.raises(tarcast.DaemonError, match="1 exports run already") as caught:
            second.export("slow", io.BytesIO())
        assert caught.value.code == "RESOURCE_EXHAUSTED"
        running.result()
        second.export("slow", io.BytesIO())


def test_without_grpc_it_is_said_what_to_install(trees: Path) -> None:
    script = f"""
import sys
sys.modules["grpc"] = None
import tarcast
from tarcast.session import connect
from tarcast.daemon import Daemon
for make in (lambda: connect("unix:///x"), lambda: Daemon({{"a": {str(trees)!r}}})):
    try:
        make()
    except tarcast.OptionError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install 'tarcast[grpc]'") == 2
