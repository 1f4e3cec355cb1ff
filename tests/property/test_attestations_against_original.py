"""Statement files: byte for byte those of the original, and refused where it refuses."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, event, example, given, settings
from hypothesis import strategies as st

from tarcast import TarcastError
from tarcast.exporter import Attestation, Subject
from tests.support.attest import Files, Original, ours
from tests.support.oracle import build_oracle

COMMON = {
    "deadline": None,
    "database": None,
    "print_blob": True,
    "suppress_health_check": list(HealthCheck),
    "phases": set(Phase) - {Phase.explain},
}

CHARACTERS = [
    *'ab"\\/<>&\b\f\n\r\t\0\x1f\x7fé\u2028\u2029\u2027\ufffd\ufeff😀\U0010ffff'
    "\udcff\udc80\udce2\udcc3\udced\udca0\udcf4ſKß"
]
texts = st.lists(st.sampled_from(CHARACTERS), max_size=6).map("".join)


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# ---- JSON, as text: what decoding would lose is what matters -----------------

blanks = st.sampled_from([b"", b"", b"", b" ", b"\n", b"\t\r "])
string_parts = st.one_of(
    st.sampled_from([raw(c) for c in CHARACTERS if c >= " " and c not in '"\\']),
    st.sampled_from(
        rb"\" \\ \/ \b \f \n \r \t \u0041 \u003c \u2028 \u0000 \u001f".split()
        + rb"\uFFFD \ud83d\ude00 \uD800 \udc00 \ud800\ud83d\ude00".split()
    ),
)
strings = st.lists(string_parts, max_size=4).map(lambda parts: b'"' + b"".join(parts) + b'"')
numbers = st.one_of(
    st.sampled_from(
        b"0 -0 1 -1.50 1e5 1E+05 0.1e-7 1e20 1e21 123456789012345678901 1e22 -1e-6 9.99e-7 1e-400 5e-324 "
        b"1.7976931348623157e308 0.000001 100 100.0 12345678.9 0e5 -0.0".split()
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda f: repr(f).encode()),
    st.integers().map(lambda n: str(n).encode()),
)
scalars = st.one_of(strings, numbers, st.sampled_from([b"true", b"false", b"null"]))


def spaced(draw: st.DrawFn, *parts: bytes) -> bytes:
    return b"".join(draw(blanks) + part for part in parts) + draw(blanks)


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[bytes]) -> bytes:
    items = [spaced(draw, item) for item in draw(st.lists(inner, max_size=4))]
    return spaced(draw, b"[", b",".join(items), b"]")


@st.composite
def objects(
    draw: st.DrawFn, inner: st.SearchStrategy[bytes], keys: st.SearchStrategy[bytes] = strings
) -> bytes:
    pairs = draw(st.lists(st.tuples(keys, inner), max_size=5))
    items = [spaced(draw, key, b":", value) for key, value in pairs]
    return spaced(draw, b"{", b",".join(items), b"}")


values = st.recursive(scalars, lambda inner: st.one_of(arrays(inner), objects(inner)), max_leaves=8)


@st.composite
def broken(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Valid JSON with a piece taken out or put in."""
    text = draw(whole)
    at = draw(st.integers(0, len(text)))
    extra = draw(
        st.sampled_from(
            b'| , : [ ] { } 0 1 . e - + " \\ \\x \x0c NaN true /**/ \xef\xbb\xbf \xff \x00'.split(b" ")
        )
    )
    return text[:at] + extra + text[at + draw(st.integers(0, 2)) :]


# ---- statement files ---------------------------------------------------------

digests = st.dictionaries(texts.filter(lambda t: ":" not in t), texts, max_size=3)
subjects = st.one_of(
    st.builds(Subject, kind=st.just("raw"), name=texts, digests=digests),
    st.builds(Subject, name=st.one_of(st.sampled_from(["", "_"]), texts)),
)
paths = st.sampled_from(
    [
        "a",
        "b",
        "sbom.json",
        "d/b",
        "d.x/e",
        ".json",
        "x.y.z",
        "a/",
        "/abs/f.txt",
        "é\udcff.js",
        "...",
        "d/../g",
    ]
)
attestations = st.builds(
    Attestation,
    path=paths,
    predicate_type=st.one_of(texts, st.just("https://slsa.dev/provenance/v1")),
    content=st.one_of(st.just(b""), values, values, values, broken(values)),
    metadata=st.sampled_from(
        [{}, {}, {}, {"inline-only": b"true"}, {"inline-only": b"false"}, {"sbom-core": b"sbom"}]
    ),
    subjects=st.lists(subjects, max_size=3),
)
prefixes = st.sampled_from(["", "", "p-", "dir/", "dir/.x", "v1.2/n", "/abs-", "\udcffé/"])
platforms = st.sampled_from(
    [None, None, "linux/amd64", "linux/arm/v7", "a\\b:c", ".", "..", "", "\udcff/é.x"]
)


@pytest.fixture(scope="session")
def original() -> Iterator[Original]:
    process = Original(build_oracle("buildkit/attest"))
    yield process
    process.close()


@pytest.fixture(scope="module")
def tree(scratch: Path) -> bytes:
    """Files whose names sort differently as paths and as archives, names of any bytes, and other types."""
    root = os.fsencode(scratch / "attested")
    for name in (
        b"A/z/1",
        b"A/z-",
        b"A.b",
        b"A-/q",
        b"B/\xff\xc3",
        b"B/<&>",
        b"empty/dir/.",
        b"C/two\nlines",
    ):
        os.makedirs(os.path.join(root, os.path.dirname(name)), exist_ok=True)
        if not name.endswith(b"."):
            Path(os.fsdecode(os.path.join(root, name))).write_bytes(name * 1000)
    Path(os.fsdecode(root), "large").write_bytes(bytes(1_000_001))
    Path(os.fsdecode(root), "none").touch()
    os.link(os.path.join(root, b"A.b"), os.path.join(root, b"again"))
    os.symlink(b"A.b", os.path.join(root, b"symlink"))
    os.symlink(b"A", os.path.join(root, b"B/symlink"))
    os.mkfifo(os.path.join(root, b"fifo"))
    return root


def assert_alike(
    original: Original, given_attestations: list[Attestation], **options: object
) -> Files | None:
    theirs = original.files(given_attestations, **options)  # type: ignore[arg-type]
    try:
        mine = ours(given_attestations, **options)  # type: ignore[arg-type]
    except TarcastError as error:
        if not isinstance(theirs, str):
            pytest.fail(f"only ours refuses it: {error}")
        return None
    assert mine == theirs
    return mine


@settings(max_examples=200, **COMMON)
@given(st.lists(attestations, min_size=1, max_size=3), prefixes, platforms, st.booleans())
def test_statement_files_are_the_originals(original, tree, given_attestations, prefix, platform, with_tree):
    made = assert_alike(
        original,
        given_attestations,
        prefix=prefix,
        platform=platform,
        tree=tree if with_tree else None,
    )
    event("refused" if made is None else f"{len(made)} files")


@settings(max_examples=200, **COMMON)
@given(st.one_of(values, broken(values), broken(broken(values))))
@example(b"[" * 10000 + b"]" * 10000)
@example(b'"\\')
@example(b"\xef\xbb\xbf{}")
def test_predicates_are_accepted_and_written_alike(original, text):
    made = assert_alike(original, [Attestation(path="p", content=text)])
    event("refused" if made is None else "made")


def test_every_file_is_a_subject_in_the_order_of_the_archive(original, tree):
    made = assert_alike(original, [Attestation(path="p", content=b"1")], tree=tree)
    assert made is not None
    assert made[0][1].count(b'"sha256"') == 10


def test_files_of_others_are_no_subjects(original, tree, needs_root):
    os.chown(os.path.join(tree, b"A/z/1"), 7, 5)
    os.chown(os.path.join(tree, b"A"), 9, 5)
    try:
        made = assert_alike(original, [Attestation(path="p", content=b"1")], tree=tree, idmap=(3, 0, 7))
    finally:
        os.chown(os.path.join(tree, b"A/z/1"), 0, 0)
        os.chown(os.path.join(tree, b"A"), 0, 0)
    assert made is not None
    assert made[0][1].count(b'"sha256"') == 9


def test_a_socket_is_refused_by_both(original, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.getcwd()
        os.chdir(tmp_path)  # the path of a socket is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(before)
        assert assert_alike(original, [Attestation(path="p", content=b"1")], tree=bytes(tmp_path)) is None


# ---- content from a reference ------------------------------------------------


@pytest.fixture(scope="module")
def reference(scratch: Path) -> str:
    root = scratch / "reference"
    (root / "d").mkdir(parents=True)
    (root / "d" / "f").write_text('"below"')
    (root / "f").write_text('"above"')
    (root / "empty").touch()
    os.mkfifo(root / "fifo")
    for name, target in {
        "link": "d/f",
        "absolute": "/d/f",
        "up": "../../../f",
        "d/up": "../../d/../f",
        "directory": "/d",
        "loop": "loop",
        "gone": "nowhere",
        "out": os.fspath(root / "f"),
    }.items():
        (root / name).symlink_to(target)
    return os.fspath(root)


PATHS = """
f /f d/f d//f ./f f/ link link/ absolute up ../f ../../d/f d/up directory/up directory/f directory/../f d/../f
empty d directory fifo fifo/ loop gone none out
"""


@pytest.mark.parametrize("path", PATHS.split())
def test_paths_lead_to_the_same_file_of_a_reference(original, reference, path):
    assert_alike(original, [Attestation(path=path, ref=reference)])


# ---- bundles -----------------------------------------------------------------

# Not "a:b" and "a": both become "a", and which one stays is chance in the original.
digest_objects = st.one_of(
    objects(strings, st.sampled_from([b'"sha256"', b'"a:b"', b'"\xff"', b'""'])), values
)
subject_keys = st.sampled_from([b'"name"', b'"NAME"', b'"digest"', '"dige\u017ft"'.encode(), b'"x"'])


@st.composite
def subject_objects(draw: st.DrawFn) -> bytes:
    pairs = []
    for key in draw(st.lists(subject_keys, max_size=4)):
        inner = strings if key.lower() == b'"name"' else digest_objects if b"dige" in key else values
        pairs.append(spaced(draw, key, b":", draw(st.one_of(inner, st.just(b"null")))))
    return b"{" + b",".join(pairs) + b"}"


@st.composite
def statements(draw: st.DrawFn) -> bytes:
    fields = {
        b'"_type"': strings,
        b'"predicateType"': st.sampled_from([b'"t"', b'"t"', b'"u"', b'"https://slsa.dev/provenance/v0.2"']),
        b'"PREDICATETYPE"': st.just(b'"t"'),
        b'"subject"': arrays(st.one_of(subject_objects(), st.just(b"null"))),
        '"\u017fubject"'.encode(): arrays(subject_objects()),
        b'"predicate"': values,
        b'"other"': values,
    }
    pairs = []
    for key in draw(st.lists(st.sampled_from(sorted(fields)), max_size=7)):
        inner = draw(st.integers(0, 15))
        value = draw(values if inner == 0 else st.just(b"null") if inner == 1 else fields[key])
        pairs.append(spaced(draw, key, b":", value))
    return spaced(draw, b"{", b",".join(pairs), b"}")


@settings(max_examples=200, **COMMON)
@given(
    st.lists(st.one_of(statements(), statements(), statements(), broken(statements()), values), max_size=2),
    st.sampled_from(["", "", "t"]),
    st.sampled_from(["", "in", "/in/", "link", "away", "in/none"]),
    st.lists(attestations, max_size=1),
)
@example([b"null"], "", "in", [])
@example([b'{"predicate":' + b"[" * 10000 + b"]" * 10000 + b"}"], "", "in", [])
@example([b'{"predicate":1e400}'], "", "in", [])
@example([b'{"x":1e400}'], "", "in", [])
@example([b'{"subject":[{"name":"1"},{"name":"2"}],"subject":[{}],"subject":[{},{},{}]}'], "", "in", [])
def test_bundles_are_taken_apart_alike(original, tmp_path_factory, entries, kind, path, more):
    root = Path(tempfile.mkdtemp(dir=tmp_path_factory.getbasetemp()))
    try:
        place = root / "in" if path else root
        place.mkdir(exist_ok=True)
        for number, entry in enumerate(entries):
            (place / f"{number}.json").write_bytes(entry)
        if path == "link":
            (root / "link").symlink_to("/in")
        if path == "away":
            (root / "away").symlink_to("../../../in")
        bundle = Attestation(kind="bundle", path=path, predicate_type=kind, ref=os.fspath(root))
        made = assert_alike(original, [bundle, *more])
        event("refused" if made is None else f"{len(made)} files")
    finally:
        shutil.rmtree(root)
