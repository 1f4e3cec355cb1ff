"""References mounted for real: overlays, images, binds; with and without privileges; nothing left behind."""

from __future__ import annotations

import encodings.ascii
import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import tarcast
import tarcast.snapshot.mounted
from tarcast.errors import InputError, OptionError
from tarcast.idmap import IDMap
from tarcast.snapshot import DirectoryRef, ImageRef, LocalMounter, Mount, Mounts, OverlayRef, mounted
from tests.support.faults import COMMAND, NOBODY, command, in_child
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
    """Three layers: files replaced and deleted, a directory made opaque, hard links, owners, odd names."""
    place.chmod(0o755)
    place.parent.chmod(0o711)  # users without privileges are to come by
    base, middle, top = made = [place / name for name in ("base", "mid:dle, with \\", "top")]
    for layer in made:
        layer.mkdir()
    for name in ("kept", "replaced", "deleted", "dir/old"):
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_text(f"base {name}")
    os.link(base / "kept", base / "kept-too")
    os.chown(base / "kept", 100007, 100009)
    (middle / "dir").mkdir()
    os.setxattr(middle / "dir", "trusted.overlay.opaque", b"y")
    (middle / "dir/new").write_text("new")
    (middle / "replaced").write_text("middle")
    os.mknod(top / "deleted", 0o600 | 0o020000, os.makedev(0, 0))
    (top / "replaced").write_text("top")
    return made


def archive_of(tree: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    tarcast.write_tar(tree, out, **options)
    return out.getvalue()


def archive_of_ref(reference: Any, **options: Any) -> bytes:
    with mounted(reference, **options) as tree:
        return archive_of(tree)


def members(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: member for member in tar}


def by_mount(place: Path, *arguments: str | Path) -> bytes:
    """The archive of what mount(8) mounts."""
    target = place / "by-mount"
    target.mkdir()
    subprocess.run(["mount", *arguments, target], check=True)
    try:
        return archive_of(target)
    finally:
        subprocess.run(["umount", target], check=True)


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


def test_an_overlay_that_is_written_to(place: Path, layers: Sequence[Path]) -> None:
    (place / "work").mkdir()
    reference = OverlayRef(layers[:2], layers[2], place / "work")
    with LocalMounter(reference.mount(readonly=False)) as path:
        Path(path, "written").write_text("x")
    assert (layers[2] / "written").read_text() == "x"
    with pytest.raises(OptionError, match="lower, upper and work"):
        OverlayRef(layers).mount(readonly=False)


def test_one_layer_is_bound_read_only(layers: Sequence[Path]) -> None:
    for reference in (OverlayRef(layers[:1]), DirectoryRef(layers[0])):
        with mounted(reference) as tree:
            with pytest.raises(OSError, match="Read-only"):
                Path(os.fsdecode(tree.path), "x").touch()
            assert archive_of(tree) == archive_of(layers[0])


def test_a_single_read_write_bind_is_used_in_place(layers: Sequence[Path]) -> None:
    mounter = LocalMounter(DirectoryRef(layers[0]).mount(readonly=False))
    assert mounter.mount() == str(layers[0])
    mounter.unmount()
    assert layers[0].is_dir()


def test_a_visible_mount_is_the_same(layers: Sequence[Path]) -> None:
    for reference in (OverlayRef(layers), DirectoryRef(layers[0])):
        mounter = LocalMounter(reference.mount(), visible=True)
        path = mounter.mount()
        assert mounter.mount() == path
        assert f" {path} " in Path("/proc/self/mountinfo").read_text()
        assert os.stat(path).st_mode & 0o777 == 0o755
        with pytest.raises(OSError, match="Read-only"):
            Path(path, "x").touch()
        assert archive_of(path) == archive_of_ref(reference)
        mounter.unmount()
        mounter.unmount()
        assert not os.path.exists(path)


def test_several_mounts_lie_on_top_of_each_other(layers: Sequence[Path]) -> None:
    mounts = [Mount("bind", str(layer), ["bind", "ro"]) for layer in (layers[0], layers[2])]
    mounter = LocalMounter(Mounts(mounts))
    with mounter as path:
        assert archive_of(path) == archive_of(layers[2])
    with pytest.raises(OptionError, match="several mounts"):
        LocalMounter(Mounts(mounts), visible=False).mount()


def test_a_detached_mount_is_not_seen(layers: Sequence[Path]) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    with mounted(OverlayRef(layers)):
        assert Path("/proc/self/mountinfo").read_text() == before


def make_ext4(image: Path, tree: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-d", tree, image, "8M"], check=True, capture_output=True)


def make_xfs(image: Path, tree: Path) -> None:
    image.touch()
    os.truncate(image, 320 << 20)
    subprocess.run(["mkfs.xfs", "-q", image], check=True)
    target = image.parent / "filled"
    target.mkdir()
    subprocess.run(["mount", "-o", "loop", image, target], check=True)
    subprocess.run(["cp", "-a", f"{tree}/.", target], check=True)
    subprocess.run(["umount", target], check=True)


def make_squashfs(image: Path, tree: Path) -> None:
    subprocess.run(["mksquashfs", tree, image, "-quiet", "-no-progress"], check=True, capture_output=True)


def make_erofs(image: Path, tree: Path) -> None:
    subprocess.run(["mkfs.erofs", image, tree], check=True, capture_output=True)


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


def test_without_privileges_a_user_namespace_does(layers: Sequence[Path]) -> None:
    archives = [archive_of_ref(OverlayRef([layers[0], layers[2]])), archive_of_ref(DirectoryRef(layers[0]))]

    def unprivileged() -> list[bytes]:
        return [archive_of_ref(OverlayRef([layers[0], layers[2]])), archive_of_ref(DirectoryRef(layers[0]))]

    assert in_child(unprivileged, user=NOBODY) == archives


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


def test_in_a_user_namespace(place: Path, layers: Sequence[Path]) -> None:
    words = [
        sys.executable,
        "-m",
        "tarcast",
        "create",
        "--quiet",
        "--ref",
        f"overlay:{layers[0]}:{layers[2]}",
        "-o",
    ]
    subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", *words, place / "mapped.tar"], check=True
    )
    subprocess.run(["unshare", "--user", "--map-root-user", *words, place / "unmapped.tar"], check=True)
    assert set(members((place / "mapped.tar").read_bytes())) == {
        "dir",
        "dir/old",
        "kept",
        "kept-too",
        "replaced",
    }
    assert (place / "mapped.tar").read_bytes() == (place / "unmapped.tar").read_bytes()


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


def test_many_exports_leave_nothing(place: Path, layers: Sequence[Path]) -> None:
    make_squashfs(place / "image", layers[0])
    references = [OverlayRef(layers), ImageRef(place / "image"), DirectoryRef(layers[0])]
    for number in range(150):
        with mounted(references[number % 3]) as tree:
            tarcast.write_tar(tree, place / "out.tar")
    # `nothing_is_left` looks


# A file object that Ctrl-C leaves without a name is closed with a warning, which is all right.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("what", ["detached", "visible", "image", "write_tar"])
def test_an_interrupt_leaves_nothing_wherever_it_comes(
    place: Path, layers: Sequence[Path], what: str
) -> None:
    make_squashfs(place / "image", layers[0])
    reference = ImageRef(place / "image") if what == "image" else OverlayRef(layers)
    armed = False
    interrupted = 0

    def interrupt(number: int, frame: FrameType | None) -> None:
        while armed and frame is not None:
            if f"{os.sep}tarcast{os.sep}" in frame.f_code.co_filename:
                raise KeyboardInterrupt
            frame = frame.f_back

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(150):
            mounter = LocalMounter(reference.mount(), visible=what == "visible" or None)
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, (number % 75 + 1) * 2e-5)
                if what == "write_tar":
                    tarcast.write_tar(layers[0], place / "out.tar")
                else:
                    mounter.mount()
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                armed = False
                signal.setitimer(signal.ITIMER_REAL, 0)
                mounter.unmount()
    finally:
        signal.signal(signal.SIGALRM, old)
    assert interrupted > 5
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


def test_mounts_are_checked() -> None:
    with pytest.raises(OptionError, match="cannot have"):
        Mount("bind", "/a\0b")
    with pytest.raises(OptionError, match="a remount changes"):
        LocalMounter(Mounts([Mount("tmpfs", "x", ["remount"])])).mount()
    with pytest.raises(OptionError, match="nothing to mount"):
        LocalMounter(Mounts([])).mount()
    with pytest.raises(InputError, match="has no file system 'nosuchfs'"):
        LocalMounter(Mounts([Mount("nosuchfs", "x", [])])).mount()
    for wrong in ([], "layer", [""], [3]):
        with pytest.raises(OptionError):
            OverlayRef(wrong)  # type: ignore[arg-type]
