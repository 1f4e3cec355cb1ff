"""The exporter and a real buildkitd: the same snapshots, the same options, the same bytes."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

import tarcast
from tests.support.buildkit import REMAPPED_USER, Daemon
from tests.support.builds import Image, image_of_everything, image_of_nothing, image_of_one_file
from tests.support.files import remove_tree
from tests.support.judge import archive_names, assert_same_archive
from tests.support.members import opened
from tests.support.rich import RICH
from tests.support.trees import Node, make_tree

ONE = ["linux/amd64"]
TWO = ["linux/arm64", "linux/amd64"]
EPOCH = "1700000000"


@dataclasses.dataclass(frozen=True)
class Built:
    """An image that a daemon builds, whatever the options of the export are."""

    daemon: Daemon
    image: Image
    idmap: tarcast.IDMap | None = None

    def theirs(
        self,
        out: Path,
        platforms: Sequence[str],
        attrs: Mapping[str, str] | None = None,
        opts: Mapping[str, str] | None = None,
    ) -> bytes:
        """What the daemon exports."""
        self.daemon.build(
            self.image.context, self.image.dockerfile, out, platforms=platforms, attrs=attrs, opts=opts
        )
        return out.read_bytes()

    def reference(self, platform: str) -> tarcast.OverlayRef | None:
        """What the daemon has for a platform; None for a result without layers."""
        marks = self.image.layer_marks(platform.partition("/")[2])
        layers = [os.fspath(layer) for layer in self.daemon.layers(*marks)]
        return tarcast.OverlayRef(layers, idmap=self.idmap) if layers else None

    def source(self, platforms: Sequence[str], **fields: object) -> tarcast.Source:
        """What the frontend hands to the exporter: trees by platform if there are several, else one."""
        metadata = {"refs.platforms": platforms_metadata(platforms), **fields.pop("metadata", {})}
        if len(platforms) > 1:
            references = {platform: self.reference(platform) for platform in platforms}
            return tarcast.Source(refs=references, metadata=metadata, **fields)
        return tarcast.Source(ref=self.reference(platforms[0]), metadata=metadata, **fields)


def platforms_metadata(platforms: Sequence[str]) -> bytes:
    described = []
    for platform in platforms:
        system, _, architecture = platform.partition("/")
        described.append({"ID": platform, "Platform": {"os": system, "architecture": architecture}})
    return json.dumps({"Platforms": described}).encode()


def ours(out: Path, source: tarcast.Source, attrs: Mapping[str, str] | None = None) -> bytes:
    """What our exporter writes."""
    manager = tarcast.SessionManager()
    with tarcast.LocalSession(manager, out) as session:
        tarcast.TarExporter(manager).resolve(0, dict(attrs or {})).export(source, session.id)
    return out.read_bytes()


@pytest.fixture(scope="module")
def contexts(scratch: Path) -> Iterator[Path]:
    place = scratch / "contexts"
    place.mkdir()
    yield place
    remove_tree(place)


@pytest.fixture(scope="module")
def everything(buildkitd: Daemon, contexts: Path) -> Built:
    return Built(buildkitd, image_of_everything(contexts, devices=True))


@pytest.fixture(scope="module")
def idmap(remapped_buildkitd: Daemon) -> tarcast.IDMap:
    return tarcast.IDMap.from_subid(REMAPPED_USER, *remapped_buildkitd.subid_files)


@pytest.fixture(scope="module")
def remapped(remapped_buildkitd: Daemon, contexts: Path, idmap: tarcast.IDMap) -> Built:
    # A remapped root may make no devices, and has no owners beyond its map.
    return Built(remapped_buildkitd, image_of_everything(contexts, devices=False), idmap)


@pytest.mark.parametrize(
    "attrs",
    [
        {},
        {"source-date-epoch": EPOCH},
        {"source-date-epoch": "0"},
        {"source-date-epoch": "9223372037"},  # its nanoseconds have more than 64 bits
        {"platform-split": "true"},
        {"platform-split": "false", "attestation-prefix": "x-"},
    ],
    ids=str,
)
@pytest.mark.parametrize("platforms", [ONE, TWO], ids=["one", "two"])
def test_layers(platforms: list[str], attrs: dict[str, str], everything: Built, place: Path) -> None:
    want = everything.theirs(place / "want.tar", platforms, attrs)
    got = ours(place / "got.tar", everything.source(platforms), attrs)
    assert_same_archive(got, want)


def test_what_is_compared_is_not_poor(everything: Built, remapped: Built, place: Path) -> None:
    archive = everything.theirs(place / "two.tar", TWO)
    names = archive_names(archive)
    for platform in (b"linux_amd64/", b"linux_arm64/"):
        assert platform + b"tree/names/raw\377\376" in names
        assert platform + b"copied/modes/d7777/" in names
        assert platform + b"tree/empty" not in names
    with opened(archive) as tar:
        found = {member.name: member for member in tar}
        contents = {
            platform: tar.extractfile(f"linux_{platform}/copied/arch").read()
            for platform in ("amd64", "arm64")
        }
    assert contents == {"amd64": b"for amd64\n", "arm64": b"for arm64\n"}
    tree = "linux_amd64/tree/"
    assert found[tree + "links/hole"].linkname == tree + "hole"
    assert not found[tree + "links/data"].islnk()  # copied up, away from its other names
    assert found["linux_amd64/copied/links/data"].islnk()
    assert found[tree + "devices/disk"].isblk()
    assert found[tree + "devices/owner"].uid == 3000000
    assert found[tree + "devices/owner"].mode == 0o4711
    with opened(remapped.theirs(place / "remapped.tar", ONE)) as tar:
        member = tar.getmember("copied/owned")
        assert (member.uid, member.gid) == (1000, 2000)
        member = tar.getmember("copied/links/dangling")
        assert (member.uid, member.gid) == (60000, 3)  # in the second range


def test_a_single_platform_that_is_asked_for_as_one_of_many(everything: Built, place: Path) -> None:
    want = everything.theirs(place / "want.tar", ONE, opts={"multi-platform": "true"})
    source = tarcast.Source(
        refs={ONE[0]: everything.reference(ONE[0])}, metadata={"refs.platforms": platforms_metadata(ONE)}
    )
    assert_same_archive(ours(place / "got.tar", source), want)
    assert archive_names(want)[0] == b"linux_amd64/"


@pytest.mark.parametrize("attrs", [{}, {"source-date-epoch": "5"}, {"source-date-epoch": ""}], ids=str)
@pytest.mark.parametrize("platforms", [ONE, TWO], ids=["one", "two"])
def test_the_epoch_of_the_build_argument(
    platforms: list[str], attrs: dict[str, str], buildkitd: Daemon, contexts: Path, place: Path
) -> None:
    # Built anew: the argument goes into the steps too, and a mark must be in one layer.
    built = Built(buildkitd, image_of_everything(contexts, devices=True))
    want = built.theirs(place / "want.tar", platforms, attrs, {"build-arg:SOURCE_DATE_EPOCH": EPOCH})
    keys = [f"source.date.epoch/{p}" for p in platforms] if len(platforms) > 1 else ["source.date.epoch"]
    source = built.source(platforms, metadata=dict.fromkeys(keys, EPOCH.encode()))
    assert_same_archive(ours(place / "got.tar", source, attrs), want)


def test_an_empty_result(buildkitd: Daemon, contexts: Path, place: Path) -> None:
    built = Built(buildkitd, image_of_nothing(contexts))
    want = built.theirs(place / "want.tar", ONE)
    assert want == bytes(1024)
    assert_same_archive(ours(place / "got.tar", built.source(ONE)), want)
    for attrs in ({}, {"source-date-epoch": EPOCH}):
        want = built.theirs(place / "want.tar", TWO, attrs)
        assert archive_names(want) == [b"linux_amd64/", b"linux_arm64/"]
        assert_same_archive(ours(place / "got.tar", built.source(TWO), attrs), want)


def test_one_layer(buildkitd: Daemon, contexts: Path, place: Path) -> None:
    built = Built(buildkitd, image_of_one_file(contexts))
    want = built.theirs(place / "want.tar", ONE)
    assert len(archive_names(want)) == 1
    assert_same_archive(ours(place / "got.tar", built.source(ONE)), want)


@pytest.mark.parametrize("attrs", [{}, {"source-date-epoch": EPOCH}], ids=str)
@pytest.mark.parametrize("platforms", [ONE, TWO], ids=["one", "two"])
def test_remapped_layers(platforms: list[str], attrs: dict[str, str], remapped: Built, place: Path) -> None:
    want = remapped.theirs(place / "want.tar", platforms, attrs)
    assert_same_archive(ours(place / "got.tar", remapped.source(platforms), attrs), want)


def test_what_no_build_step_can_make(buildkitd: Daemon, contexts: Path, place: Path) -> None:
    built = _filled_by_hand(buildkitd, contexts, place, RICH)
    want = built.theirs(place / "want.tar", ONE)
    assert b"xattrs/capable" in archive_names(want)
    assert_same_archive(ours(place / "got.tar", built.source(ONE)), want)


def test_owners_without_a_place_in_the_map_are_dropped(
    remapped_buildkitd: Daemon, contexts: Path, idmap: tarcast.IDMap, place: Path
) -> None:
    nodes = [
        dataclasses.replace(node, owner=(200000 + number * 97, 300000 + number)) if number % 5 else node
        for number, node in enumerate(RICH)
    ]
    built = _filled_by_hand(remapped_buildkitd, contexts, place, nodes, idmap)
    want = built.theirs(place / "want.tar", ONE)
    names = archive_names(want)
    assert len(RICH) / 2 < len(names) < len(RICH) * 0.9
    assert_same_archive(ours(place / "got.tar", built.source(ONE)), want)


def _filled_by_hand(
    daemon: Daemon, contexts: Path, place: Path, nodes: Sequence[Node], idmap: tarcast.IDMap | None = None
) -> Built:
    """A built image whose layer has got `nodes` too: the daemon exports them when it is asked again."""
    built = Built(daemon, image_of_one_file(contexts), idmap)
    built.theirs(place / "before.tar", ONE)
    (layer,) = daemon.layers(*built.image.marks)
    make_tree(tuple(nodes), os.fsencode(layer))
    return built


@pytest.mark.parametrize(
    "attrs",
    [{}, {"attestation-prefix": "x-"}, {"platform-split": "false", "attestation-prefix": "y."}],
    ids=str,
)
@pytest.mark.parametrize("platforms", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_attestations(
    mode: str, platforms: list[str], attrs: dict[str, str], everything: Built, place: Path
) -> None:
    attested = {**attrs, "source-date-epoch": EPOCH}
    want = everything.theirs(place / "want.tar", platforms, attested, {"attest:provenance": f"mode={mode}"})
    source = everything.source(platforms, attestations=provenances(want, platforms))
    assert_same_archive(ours(place / "got.tar", source, attested), want)


def test_attestations_over_an_id_map(remapped: Built, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    want = remapped.theirs(place / "want.tar", TWO, opts={"attest:provenance": "mode=min"})
    source = remapped.source(TWO, attestations=provenances(want, TWO))
    with opened(want) as tar:
        made = tar.getmember("linux_amd64/provenance.json").mtime
    # Without an epoch they are of the second of the export.
    monkeypatch.setattr(time, "time", lambda: made + 0.9)
    assert_same_archive(ours(place / "got.tar", source), want)


def provenances(archive: bytes, platforms: Sequence[str]) -> dict[str, list[tarcast.exporter.Attestation]]:
    """The attestations that the daemon made, as it got them: they have times and random ids."""
    found = {}
    with opened(archive) as tar:
        for platform in platforms:
            folder = f"{platform.replace('/', '_')}/" if len(platforms) > 1 else ""
            (name,) = (n for n in tar.getnames() if n.startswith(folder) and "provenance" in n)
            file = tar.extractfile(name)
            assert file is not None
            found[platform] = [_attestation(file.read())]
    return found


def _attestation(statement: bytes) -> tarcast.exporter.Attestation:
    # As it is written, not as Python would write it again: there is more than one way to write a letter.
    _, _, rest = statement.partition(b'\n  "predicate": ')
    predicate = rest.removesuffix(b"\n}")
    return tarcast.exporter.Attestation(
        path="provenance.json", predicate_type=json.loads(statement)["predicateType"], content=predicate
    )
