"""How references are mounted: detached, visibly, in user namespaces, interrupted; nothing left behind."""

from __future__ import annotations

import encodings.ascii
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import pytest

import tarcast
import tarcast.snapshot.mounting
from tarcast.errors import InputError, OptionError
from tarcast.snapshot import DirectoryRef, ImageRef, LocalMounter, Mount, Mounts, OverlayRef, mounted
from tests.support.faults import NOBODY, in_child
from tests.support.layers import (
    archive_of,
    archive_of_ref,
    make_layers,
    make_squashfs,
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


def test_an_overlay_that_is_written_to(place: Path, layers: Sequence[Path]) -> None:
    (place / "work").mkdir()
    reference = OverlayRef(layers[:2], layers[2], place / "work")
    with LocalMounter(reference.mount(readonly=False)) as path:
        Path(path, "written").write_text("x")
    assert (layers[2] / "written").read_text() == "x"
    with pytest.raises(OptionError, match="lower, upper and work"):
        OverlayRef(layers).mount(readonly=False)


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


def test_without_privileges_a_user_namespace_does(layers: Sequence[Path]) -> None:
    archives = [archive_of_ref(OverlayRef([layers[0], layers[2]])), archive_of_ref(DirectoryRef(layers[0]))]

    def unprivileged() -> list[bytes]:
        return [archive_of_ref(OverlayRef([layers[0], layers[2]])), archive_of_ref(DirectoryRef(layers[0]))]

    assert in_child(unprivileged, user=NOBODY) == archives


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


@pytest.mark.parametrize("visible", [None, True])
def test_mounts_below_a_recursive_bind_are_shown_read_only_and_stay(
    place: Path, visible: bool | None
) -> None:
    top = place / "top"
    top.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "--make-shared", "tarcast-test", top], check=True)
    try:
        below = top / "with space"
        below.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "--make-shared", "tarcast-test", below], check=True)
        (below / "file").write_text("x")
        with LocalMounter(DirectoryRef(top, recursive=True).mount(), visible=visible) as path:
            assert (Path(path) / "with space/file").read_text() == "x"
            with pytest.raises(OSError, match="Read-only"):
                (Path(path) / "with space/new").touch()
        assert (below / "file").read_text() == "x"
        with LocalMounter(DirectoryRef(top).mount(), visible=visible) as path:
            assert os.listdir(Path(path) / "with space") == []
    finally:
        subprocess.run(["umount", "-R", top], check=True)


def test_an_interrupt_in_a_user_namespace_leaves_nothing(place: Path) -> None:
    many = []
    for number in range(200):
        many.append(place / f"layer{number}")
        many[-1].mkdir()

    def unprivileged() -> tuple[int, int]:
        before = len(os.listdir("/proc/self/fd"))
        interrupted = 0

        def interrupt(number: int, frame: FrameType | None) -> None:
            if armed:
                raise KeyboardInterrupt

        armed = False
        signal.signal(signal.SIGALRM, interrupt)
        for number in range(60):
            mounter = LocalMounter(OverlayRef(many).mount())
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, (number + 1) * 1e-4)
                mounter.mount()
                armed = False
            except KeyboardInterrupt:
                armed = False
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            mounter.unmount()
        return interrupted, len(os.listdir("/proc/self/fd")) - before

    place.chmod(0o755)
    place.parent.chmod(0o711)
    interrupted, more = in_child(unprivileged, user=NOBODY)
    assert interrupted > 5
    assert more == 0


def test_a_directory_that_cannot_be_mounted_on_is_removed(layers: Sequence[Path]) -> None:
    layers[0].parent.chmod(0o777)

    def unprivileged() -> str:
        tempfile.tempdir = os.fspath(layers[0].parent)
        try:
            LocalMounter(OverlayRef([layers[0], layers[2]]).mount(), visible=True).mount()
        except InputError as error:
            return str(error)
        return ""

    said = in_child(unprivileged, user=NOBODY)
    assert "mounting on a directory needs CAP_SYS_ADMIN" in said
    assert "clean-up" not in said
    assert sorted(layers[0].parent.iterdir()) == sorted(layers)


@pytest.mark.parametrize("option", ["noatime", "strictatime", "relatime", "nodiratime", "nosuid", "nodev"])
@pytest.mark.parametrize("visible", [None, True])
def test_options_of_every_mount(layers: Sequence[Path], option: str, visible: bool | None) -> None:
    mounts = Mounts([Mount("bind", str(layers[0]), iter(["bind", "ro", option]))])  # type: ignore[arg-type]
    with LocalMounter(mounts, visible=visible) as path:
        flags = os.statvfs(path).f_flag
        assert flags & os.ST_RDONLY
        named = getattr(os, f"ST_{option.upper()}", 0)
        assert flags & named == named


def test_too_many_layers_are_not_blamed_on_the_kernels_age(layers: Sequence[Path]) -> None:
    with pytest.raises(InputError, match=r"mount overlay: Invalid argument \(.*\)") as caught:
        LocalMounter(OverlayRef([layers[0]] * 600).mount()).mount()
    assert "6.13" not in str(caught.value)


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


def test_mounts_are_checked() -> None:
    with pytest.raises(OptionError, match="cannot have"):
        Mount("bind", "/a\0b")
    with pytest.raises(OptionError, match="a remount changes"):
        LocalMounter(Mounts([Mount("tmpfs", "x", ["remount"])])).mount()
    with pytest.raises(OptionError, match="nothing to mount"):
        LocalMounter(Mounts([])).mount()
    with pytest.raises(InputError, match="has no file system 'nosuchfs'"):
        LocalMounter(Mounts([Mount("nosuchfs", "x", [])])).mount()
    for options in ("ro", 3):
        with pytest.raises(OptionError, match="options must be a list"):
            ImageRef("image", options=options)  # type: ignore[arg-type]
    for wrong in ([], "layer", [""], [3]):
        with pytest.raises(OptionError):
            OverlayRef(wrong)  # type: ignore[arg-type]
