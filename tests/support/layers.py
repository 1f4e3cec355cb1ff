"""Layers for overlays, images of file systems, and archives of what is mounted of them."""

from __future__ import annotations

import encodings.ascii
import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import tarcast
import tarcast.snapshot.mounting
from tarcast.snapshot import mounted

assert encodings.ascii  # a child without privileges may not read the standard library


def make_layers(place: Path) -> list[Path]:
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
