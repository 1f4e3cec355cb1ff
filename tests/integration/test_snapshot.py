"""References mounted for real and exported: overlays, images, binds, a user's own; nothing left behind."""

from __future__ import annotations

import encodings.ascii
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import tarcast
import tarcast.snapshot.mounting
from tarcast.errors import InputError
from tarcast.idmap import IDMap
from tarcast.snapshot import DirectoryRef, ImageRef, LocalMounter, Mount, OverlayRef, mounted
from tests.support.faults import COMMAND, NOBODY, command, in_child
from tests.support.layers import (
    archive_of,
    archive_of_ref,
    by_mount,
    make_erofs,
    make_ext4,
    make_layers,
    make_squashfs,
    make_xfs,
    members,
)
from tests.support.leftovers import left

assert encodings.ascii  # a child without privileges may not read the standard library

pytestmark = pytest.mark.usefixtures("needs_root")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = left()
    yield
    assert left() == before


@pytest.fixture
def layers(place: Path) -> list[Path]:
    return make_layers(place)


def test_layers_are_merged_as_the_kernel_does(place: Path, layers: Sequence[Path]) -> None:
    archive = archive_of_ref(OverlayRef(layers))
    assert sorted(members(archive)) == ["dir", "dir/new", "kept", "kept-too", "replaced"]
    os.rename(layers[1], place / "middle")  # mount(8) has no way to write the other name
    lower = f"lowerdir={layers[2]}:{place / 'middle'}:{layers[0]}"
    assert by_mount(place, "-t", "overlay", "-o", f"ro,{lower}", "overlay") == archive


def test_upper_is_the_topmost_and_never_written(layers: Sequence[Path]) -> None:
    with mounted(OverlayRef(layers[:2], upper=layers[2])) as tree:
        with pytest.raises(OSError, match="Read-only"):
            Path(os.fsdecode(tree.path), "x").touch()
        archive = archive_of(tree)
    assert archive == archive_of_ref(OverlayRef(layers))


def test_one_layer_is_bound_read_only(layers: Sequence[Path]) -> None:
    for reference in (OverlayRef(layers[:1]), DirectoryRef(layers[0])):
        with mounted(reference) as tree:
            with pytest.raises(OSError, match="Read-only"):
                Path(os.fsdecode(tree.path), "x").touch()
            assert archive_of(tree) == archive_of(layers[0])


@pytest.mark.parametrize("make", [make_ext4, make_xfs, make_squashfs, make_erofs])
def test_an_image_is_mounted_by_its_magic(
    place: Path, layers: Sequence[Path], make: Callable[[Path, Path], None]
) -> None:
    image = place / "image"
    make(image, layers[0])
    content = image.read_bytes()
    archive = archive_of_ref(ImageRef(image))
    assert {"dir/old", "kept", "replaced"} <= set(members(archive))
    assert by_mount(place, "-o", "loop,ro", image) == archive
    assert image.read_bytes() == content


def test_an_image_behind_an_offset(place: Path, layers: Sequence[Path]) -> None:
    make_squashfs(place / "image", layers[0])
    content = (place / "image").read_bytes()
    (place / "image").write_bytes(bytes(65536) + content)
    assert "kept" in members(archive_of_ref(ImageRef(place / "image", offset=65536)))
    with (
        pytest.raises(InputError, match="no file system that is known: ext4, xfs"),
        mounted(ImageRef(place / "image")),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "words"),
    [(bytes(4096), "no file system that is known"), (bytes(510) + b"\x55\xaa", "is a disk with partitions")],
)
def test_what_is_no_image_is_refused(place: Path, content: bytes, words: str) -> None:
    (place / "image").write_bytes(content)
    with pytest.raises(InputError, match=words), mounted(ImageRef(place / "image")):
        pass


def test_a_broken_image_is_refused_in_the_kernels_words(place: Path) -> None:
    (place / "image").write_bytes(b"hsqs" + bytes(8192))
    with (
        pytest.raises(InputError, match=r"image: mount squashfs: ") as caught,
        mounted(ImageRef(place / "image")),
    ):
        pass
    assert caught.value.errno


def test_a_missing_layer_is_named(layers: Sequence[Path], place: Path) -> None:
    for visible in (None, True):
        with pytest.raises(InputError, match=r"nowhere: open layer: No such file") as caught:
            LocalMounter(OverlayRef([*layers, place / "nowhere"]).mount(), visible=visible).mount()
        assert caught.value.path == str(place / "nowhere")


class Own:
    """A user's reference."""

    def __init__(self, mounts: list[Mount], idmap: IDMap | None = None, fails: bool = False) -> None:
        self._mounts = mounts
        self._idmap = idmap
        self._fails = fails
        self.released = 0

    def mount(self, readonly: bool = True) -> Own:
        assert readonly
        return self

    def mounts(self) -> list[Mount]:
        return self._mounts

    def release(self) -> None:
        self.released += 1
        if self._fails:
            raise OSError(5, "cannot release")

    def identity_mapping(self) -> IDMap | None:
        return self._idmap


def test_identity_mapping_and_release_of_a_users_reference(layers: Sequence[Path]) -> None:
    own = Own([Mount("bind", str(layers[0]), ["bind", "ro"])], IDMap.parse("0:100000:65536"))
    found = members(archive_of_ref(own))
    assert [(m.name, m.uid, m.gid) for m in found.values()] == [("kept", 7, 9), ("kept-too", 7, 9)]
    assert own.released == 1


def test_release_happens_whatever_fails(layers: Sequence[Path]) -> None:
    own = Own([Mount("bind", "/nowhere", ["bind", "ro"])])
    with (
        pytest.raises(InputError, match=r"/nowhere: mount bind: No such file or directory \[ENOENT\]"),
        mounted(own),
    ):
        pass
    assert own.released == 1
    own = Own([Mount("bind", str(layers[0]), ["bind", "ro"])], fails=True)
    with pytest.raises(tarcast.CleanupError, match="cannot release"), mounted(own):
        pass
    assert own.released == 1
    with pytest.raises(KeyError) as caught, mounted(Own([Mount("bind", str(layers[0]), ["ro"])], fails=True)):
        raise KeyError
    assert any("cannot release" in note for note in caught.value.__notes__)


def test_messages_name_the_reference(layers: Sequence[Path]) -> None:
    (layers[0] / "secret").write_text("x")
    (layers[0] / "secret").chmod(0)

    def unreadable() -> str:
        try:
            archive_of_ref(OverlayRef([layers[0]]))
        except InputError as error:
            return str(error)
        return ""

    assert f"overlay:{layers[0]}/secret: open: Permission denied" in in_child(unreadable, user=NOBODY)


def test_without_privileges_an_image_says_what_it_takes(place: Path, layers: Sequence[Path]) -> None:
    make_squashfs(place / "image", layers[0])

    def unprivileged() -> str:
        try:
            archive_of_ref(ImageRef(place / "image"))
        except InputError as error:
            return str(error)
        return ""

    said = in_child(unprivileged, user=NOBODY)
    assert "set up loop device: Permission denied" in said
    assert "run as root" in said


def test_a_kill_leaves_nothing(place: Path, layers: Sequence[Path]) -> None:
    make_squashfs(place / "image", layers[0])
    (layers[0] / "large").write_bytes(bytes(4 << 20))  # more than the pipe takes
    words = [
        "create",
        "--ref",
        f"a=overlay:{layers[0]}:{layers[2]}",
        "--ref",
        f"b=image:{place / 'image'}",
        "-o",
        "-",
    ]
    process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with process:
        assert process.stdout is not None
        assert process.stdout.read(512)  # the first header: everything is mounted
        process.send_signal(signal.SIGKILL)
    # `nothing_is_left` looks


def test_a_journal_is_never_replayed(place: Path, layers: Sequence[Path]) -> None:
    """Neither that of an image nor that of a device, which could be written to."""
    image, dirty, target = place / "image", place / "dirty", place / "target"
    image.touch()
    os.truncate(image, 16 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    target.mkdir()
    subprocess.run(["mount", "-o", "loop", image, target], check=True)
    try:
        (target / "file").write_text("x")
        subprocess.run(["sync", "-f", target], check=True)
        dirty.write_bytes(image.read_bytes())
    finally:
        subprocess.run(["umount", target], check=True)
    content = dirty.read_bytes()
    done = subprocess.run(["losetup", "--find", "--show", dirty], check=True, capture_output=True, text=True)
    try:
        for path in (dirty, done.stdout.strip()):
            with pytest.raises(InputError, match="not unmounted cleanly"), mounted(ImageRef(path)):
                pass
    finally:
        subprocess.run(["losetup", "-d", done.stdout.strip()], check=True)
    assert dirty.read_bytes() == content
    with mounted(ImageRef(image)) as tree:
        assert "file" in members(archive_of(tree))


def test_a_reference_is_where_it_was_when_it_was_made(place: Path, layers: Sequence[Path]) -> None:
    def elsewhere() -> list[str]:
        os.chdir(place)
        references = [OverlayRef(["base", "top"]), DirectoryRef("base")]
        os.chdir("/")
        found = [",".join(members(archive_of_ref(reference))) for reference in references]
        os.mkdir(place / "gone")
        os.chdir(place / "gone")
        os.rmdir(place / "gone")
        OverlayRef([layers[0]])
        try:
            DirectoryRef("base")
        except InputError as error:
            found.append(error.step)
        return found

    merged, one, step = in_child(elsewhere)
    assert (merged, one) == (
        "dir,dir/old,kept,kept-too,replaced",
        "deleted,dir,dir/old,kept,kept-too,replaced",
    )
    assert step == "find the current directory"


def test_a_fifo_is_no_image(place: Path) -> None:
    os.mkfifo(place / "fifo")
    with pytest.raises(InputError, match="fifo: open image"), mounted(ImageRef(place / "fifo")):
        pass


def test_many_exports_leave_nothing(place: Path, layers: Sequence[Path]) -> None:
    make_squashfs(place / "image", layers[0])
    references = [OverlayRef(layers), ImageRef(place / "image"), DirectoryRef(layers[0])]
    for number in range(150):
        with mounted(references[number % 3]) as tree:
            tarcast.write_tar(tree, place / "out.tar")
    # `nothing_is_left` looks


def test_the_command(place: Path, layers: Sequence[Path]) -> None:
    spelled = ":".join(str(layer).replace("\\", "\\\\").replace(":", "\\:") for layer in layers)
    done = command("create", "--ref", f"overlay:{spelled}", "-o", place / "one.tar")
    assert done.returncode == 0, done.stderr
    assert (place / "one.tar").read_bytes() == archive_of_ref(OverlayRef(layers))
    done = command(
        "create", "--ref", f"b/c=dir:{layers[0]}", layers[2], "-o", place / "two.tar", "--exclude", "kept*"
    )
    assert done.returncode == 0, done.stderr
    expected = archive_of({"b/c": tarcast.Tree(layers[0], exclude=["kept*"]), "top": tarcast.Tree(layers[2])})
    assert (place / "two.tar").read_bytes() == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ref", "overlay:"], b"is no reference: expected [NAME=]overlay:LAYER:LAYER"),
        (["--ref", "disk:x"], b"is no reference"),
        (["--ref", "=dir:x"], b"is no reference"),
        (["--ref", "overlay:a::b"], b"has an empty layer"),
        (["--ref", "dir:a", "--ref", "dir:b"], b"two references have no name"),
        (["--ref", "x=dir:a", "--ref", "x=dir:b"], b'two references are named "x"'),
        (["--ref", "dir:a", "/usr"], b"a reference beside other trees needs a name"),
        (["--ref", "usr=dir:a", "/usr"], b'would both be "usr"'),
    ],
)
def test_the_command_refuses(arguments: list[str], words: bytes) -> None:
    done = command("create", *arguments, "-o", "/nowhere/out.tar")
    assert done.returncode == 2
    assert words in done.stderr
