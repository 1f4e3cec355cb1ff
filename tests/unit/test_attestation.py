"""What attestations accept and refuse, and the files that they become."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tarcast.errors import ChangedError, InputError, OptionError
from tarcast.exporter import Attestation, Subject, reference
from tarcast.exporter.attestation import exported
from tarcast.exporter.bundle import unbundle
from tarcast.exporter.statements import file_name, platform_path, statement_files
from tests.support.attest import open_directory
from tests.support.files import descriptors

SLSA = "https://slsa.dev/provenance/v1"


def files(*attestations: Attestation, **options: Any) -> dict[str, Any]:
    """Name and decoded content of the files, in order."""
    given = {"subjects": [], "prefix": "", "platform": None, "open_ref": open_directory, **options}
    return {
        name: json.loads(content)
        for name, content in statement_files(attestations, **given)  # type: ignore[arg-type]
    }


# ---- arguments ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "", "content": b""}, "needs a path"),
        ({"path": b"p", "content": b""}, "must be text"),
        ({"path": "p\0", "content": b""}, "NUL"),
        ({"path": "\ud800", "content": b""}, "surrogates"),
        ({"path": "p"}, "^p: attestation: there is neither content nor a ref"),
        ({"path": "p", "content": "text"}, "^p: attestation: its content must be bytes or callable, not str"),
        ({"path": "p", "content": b"", "kind": "raw"}, "'in-toto' or 'bundle', not 'raw'"),
        ({"path": "p", "content": b"", "predicate_type": 5}, "^p: the predicate type"),
        ({"path": "p", "ref": "r", "predicate_type": SLSA}, "provenance is not taken from a ref; give it"),
        ({"path": "p", "kind": "bundle"}, "a bundle needs a ref"),
        ({"path": "p", "kind": "bundle", "ref": "r", "content": b""}, "no content of its own"),
        ({"path": "p", "content": b"", "metadata": ["a"]}, "must be a mapping"),
        ({"path": "p", "content": b"", "metadata": {"a": "true"}}, "text to bytes"),
        ({"path": "p", "content": b"", "subjects": Subject()}, "a list of Subject"),
        ({"path": "p", "content": b"", "subjects": ["self"]}, "'self' is none"),
    ],
)
def test_an_attestation_checks_its_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Attestation(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "other"}, "'self' or 'raw', not 'other'"),
        ({"name": b"n"}, "must be text"),
        ({"kind": "raw", "digests": ["sha256:1"]}, "mapping"),
        ({"kind": "raw", "digests": {"sha256:1": "2"}}, "no algorithm"),
        ({"kind": "raw", "digests": {"sha256": b"1"}}, "sha256 digest of a subject must be text"),
        ({"digests": {"sha256": "1"}}, "digests of the files"),
    ],
)
def test_a_subject_checks_its_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Subject(**arguments)


def test_they_say_what_they_are() -> None:
    assert repr(Subject()) == "Subject(kind='self')"
    assert repr(Subject(kind="raw", digests={"a": "b"})) == "Subject(kind='raw', digests={'a': 'b'})"
    one = Attestation(path="p", predicate_type="t", content=bytearray(b"1"))
    assert repr(one) == "<Attestation in-toto path='p' predicate_type='t'>"
    assert (one.content, one.metadata, one.subjects, one.ref) == (b"1", {}, (), None)


def test_all_are_exported_but_those_for_images() -> None:
    marks: list[dict[str, bytes]] = [{}, {"inline-only": b"true"}, {"inline-only": b"false"}, {"x": b"true"}]
    given = [Attestation(path="p", content=b"", metadata=m) for m in marks]
    assert exported(given) == [given[0], given[2], given[3]]


# ---- names -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "prefix", "platform", "name"),
    [
        ("sbom.spdx.json", "", None, "sbom.spdx.json"),
        ("d.x/sbom", "", "linux/amd64", "sbom.linux_amd64"),
        ("d/sbom.spdx.json", "att-", "linux/arm/v7", "att-sbom.spdx.linux_arm_v7.json"),
        (".json", "", "a", ".a.json"),
        ("x/", "dir.v/", "a", "dir.v/x.a"),
        ("x.y", "/abs/", None, "abs/x.y"),
        ("x.", "", "a", "x.a."),
    ],
)
def test_names(path: str, prefix: str, platform: str | None, name: str) -> None:
    assert file_name(Attestation(path=path, content=b""), prefix, platform) == name


@pytest.mark.parametrize(
    ("path", "prefix"),
    [("..", ""), ("a", "../"), ("a", "d//"), ("a", "//"), ("/", "d"), (".", "d/"), ("a", "\0")],
)
def test_names_that_lead_nowhere_are_refused(path: str, prefix: str) -> None:
    with pytest.raises(OptionError, match="cannot be named") as caught:
        files(Attestation(path=path, content=b""), prefix=prefix)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("platform", "name"),
    [("linux/arm64", "linux_arm64"), ("a\\b:c", "a_b_c"), (".", "_"), ("..", "__"), ("", "")],
)
def test_platforms_are_one_component(platform: str, name: str) -> None:
    assert platform_path(platform) == name


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.raises(OptionError, match="two attestations become the file 'x'"):
        files(Attestation(path="a/x", content=b""), Attestation(path="b/x", content=b""))
    with pytest.raises(OptionError, match="two attestations"):  # the same bytes, spelled in two ways
        files(Attestation(path="\udcc3\udca9", content=b""), Attestation(path="é", content=b""))


def test_files_are_in_the_order_of_the_archive() -> None:
    names = ["b", "a.x", "\udcff", "\U0010ffff", "A"]
    made = files(*(Attestation(path=name, content=b"") for name in names), prefix="d/")
    assert list(made) == ["d/A", "d/a.x", "d/b", "d/\U0010ffff", "d/\udcff"]


# ---- content and subjects ----------------------------------------------------


def test_subjects() -> None:
    own = [("b", "22"), ("a", "11")]
    every = [
        Subject(name="_"),
        Subject(kind="raw", digests={"md5": "0"}),
        Subject(name="image"),
        Subject(kind="raw", name="n"),
    ]
    made = files(
        Attestation(path="none", content=b""),
        Attestation(path="every", content=b"", subjects=every),
        subjects=own,
    )
    found = {name: [(s["name"], s["digest"]) for s in content["subject"]] for name, content in made.items()}
    both = [("b", {"sha256": "22"}), ("a", {"sha256": "11"})]
    assert found["none"] == both
    assert found["every"] == [
        *both,
        ("_", {"md5": "0"}),
        both[0],
        ("image", both[0][1]),
        both[1],
        ("image", both[1][1]),
        ("n", {}),
    ]


def test_content_is_given_called_for_or_read(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "read").write_bytes(b"[3]")
    made = files(
        Attestation(path="given", content=b"[1]", ref="unused", predicate_type=SLSA),
        Attestation(path="called", content=lambda: b"[2]"),
        Attestation(path="d/read", ref=tmp_path),
        Attestation(path="empty", content=b""),
    )
    assert {name: content["predicate"] for name, content in made.items()} == {
        "called": [2],
        "empty": None,
        "given": [1],
        "read": [3],
    }


def test_content_that_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"{")
    with pytest.raises(OptionError, match=r"^p: read attestation: its predicate is refused: malformed JSON"):
        files(Attestation(path="p", content=b"{"))
    with pytest.raises(
        InputError, match=r"^file: read attestation: its predicate is refused: malformed JSON"
    ):
        files(Attestation(path="file", ref=tmp_path))
    with pytest.raises(OptionError, match=r"^p: attestation: its content gave str and not bytes"):
        files(Attestation(path="p", content=lambda: "text"))  # type: ignore[arg-type,return-value]
    with pytest.raises(OptionError, match="a bundle must be taken apart first"):
        files(Attestation(path="p", kind="bundle", ref=tmp_path))


def test_an_exception_of_the_callers_content_passes() -> None:
    def content() -> bytes:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        files(Attestation(path="p", content=content))


# ---- references --------------------------------------------------------------


def test_only_regular_files_of_a_reference_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "out").symlink_to("/etc/passwd")
    before = descriptors()
    for path, message, code in (
        ("fifo", "is not a regular file", None),
        (".", "is not a regular file", None),
        ("out", "ENOENT", errno.ENOENT),
        ("none", "ENOENT", errno.ENOENT),
    ):
        with pytest.raises(InputError, match=message) as caught:
            files(Attestation(path=path, ref=tmp_path), prefix="x")
        assert (caught.value.path, caught.value.errno) == (path, code)
    assert descriptors() == before


def test_the_size_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reference.MAX_ATTESTATION == 80 << 20
    monkeypatch.setattr(reference, "MAX_ATTESTATION", 100)
    (tmp_path / "p").write_bytes(b" " * 99 + b"1")
    assert files(Attestation(path="p", ref=tmp_path))["p"]["predicate"] == 1
    (tmp_path / "p").write_bytes(b" " * 100 + b"1")
    with pytest.raises(InputError, match="larger than 100 bytes"):
        files(Attestation(path="p", ref=tmp_path))


def test_a_file_replaced_between_look_and_open_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p").write_bytes(b"1")
    original = reference.open_in_root

    def swapping(dirfd: int, path: bytes, flags: int) -> int:
        fd = original(dirfd, path, flags)
        if flags & os.O_PATH:
            os.rename(tmp_path / "p", tmp_path / "old")
            (tmp_path / "p").write_bytes(b"2")
        return fd

    monkeypatch.setattr(reference, "open_in_root", swapping)
    with pytest.raises(ChangedError, match=r"^p: read attestation: was replaced"):
        files(Attestation(path="p", ref=tmp_path))


def test_an_old_kernel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(dirfd: int, path: bytes, flags: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), path)

    monkeypatch.setattr(reference, "open_in_root", missing)
    with pytest.raises(InputError, match=r"ENOSYS.*openat2\(2\): Linux 5.6 or later"):
        files(Attestation(path="p", ref=tmp_path))


# ---- bundles -----------------------------------------------------------------

MakeBundle = Callable[..., Attestation]


@pytest.fixture
def bundle(tmp_path: Path) -> MakeBundle:
    """Makes a bundle of these statements."""

    def make(*statements: object, predicate_type: str = "", **options: Any) -> Attestation:
        directory = tmp_path / "in"
        directory.mkdir()
        for number, statement in enumerate(statements):
            text = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
            (directory / f"{number}.json").write_bytes(text)
        return Attestation(path="in", kind="bundle", ref=tmp_path, predicate_type=predicate_type, **options)

    return make


def test_a_bundle_becomes_its_entries(bundle: MakeBundle) -> None:
    subject = {"name": "s", "digest": {"sha1": "1"}}
    given = bundle(
        {"predicateType": "t", "subject": [subject], "predicate": {"b": 1.0, "a": "<"}},
        {"predicateType": "t"},
        metadata={"k": b"v"},
    )
    alone = Attestation(path="alone", content=b"")
    before, first, second, after = unbundle([alone, given, alone], open_directory)
    assert before is alone
    assert after is alone
    assert (first.path, first.kind, first.predicate_type) == ("in/0.json", "in-toto", "t")
    assert (first.content, first.metadata) == (b'{"a":"\\u003c","b":1}', {"k": b"v"})
    assert [(s.kind, s.name, s.digests) for s in first.subjects] == [("raw", "s", {"sha1": "1"})]
    assert (second.path, second.content, second.subjects) == ("in/1.json", b"null", ())


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (b"{} {}", "no in-toto statement: malformed JSON at byte 3"),
        (b"", "it ends too early"),
        ([], "the statement is no object"),
        ({"_type": 1}, "_type is no string"),
        ({"predicateType": []}, "predicateType is no string"),
        ({"subject": {}}, "subject is no list"),
        ({"subject": [1]}, "a subject is no object"),
        ({"subject": [{"name": 1}]}, "name of a subject is no string"),
        ({"subject": [{"digest": []}]}, "digest of a subject is no object"),
        ({"subject": [{"digest": {"a": 1}}]}, "a digest is no string"),
        (b'{"predicate": 1e999}', "range of float64"),
        ({"predicateType": "u"}, "its predicate type is 'u', and the bundle is of 't'"),
    ],
)
def test_entries_that_are_refused(bundle: MakeBundle, statement: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        unbundle([bundle({"predicateType": "t"}, statement, predicate_type="t")], open_directory)
    assert caught.value.path == "in/1.json"


def test_provenance_is_not_taken_from_a_bundle(bundle: MakeBundle) -> None:
    with pytest.raises(InputError, match="provenance is not taken from a bundle"):
        unbundle([bundle({"predicateType": SLSA})], open_directory)


def test_entries_are_files_inside_the_bundle(bundle: MakeBundle, tmp_path: Path) -> None:
    given = bundle({"predicateType": "t"})
    (tmp_path / "outside").write_bytes(b"{}")
    (tmp_path / "in" / "link").symlink_to("/0.json")
    assert [one.path for one in unbundle([given], open_directory)] == ["in/0.json", "in/link"]
    (tmp_path / "in" / "out").symlink_to("../outside")
    with pytest.raises(InputError, match=r"^in/out: read bundle: No such file"):
        unbundle([given], open_directory)
    (tmp_path / "in" / "out").unlink()
    (tmp_path / "in" / "below").mkdir()
    with pytest.raises(InputError, match=r"^in/below: read bundle: is not a regular file"):
        unbundle([given], open_directory)


def test_a_bundle_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, code in (("file", errno.ENOTDIR), ("none", errno.ENOENT)):
        with pytest.raises(InputError) as caught:
            unbundle([Attestation(path=path, kind="bundle", ref=tmp_path)], open_directory)
        assert (caught.value.path, caught.value.errno) == (path, code)


def test_the_core_sbom_comes_first(bundle: MakeBundle) -> None:
    core = {"sbom-core": b"core"}
    given = [
        Attestation(path="other.json", content=b"", metadata=core),
        bundle({"predicateType": "t"}, metadata={"sbom-core": b"in/0"}),
        Attestation(path="core.spdx.json", content=b"", metadata=core),
        Attestation(path="core.json", content=b""),
    ]
    found = [one.path for one in unbundle(given, open_directory)]
    assert found == ["in/0.json", "core.spdx.json", "other.json", "core.json"]
