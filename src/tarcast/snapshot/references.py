"""What can be mounted and exported: the protocol, and the references that come with the package."""

from __future__ import annotations

import os

from tarcast.errors import OptionError, printable

from .image import KNOWN, file_system_of
from .mount import Mount, absolute, listed, overlay_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from tarcast.idmap import IDMap

    Path = str | bytes | os.PathLike[str]

    class Mountable(Protocol):
        """What it takes to see a reference's files; made by `Reference.mount`."""

        def mounts(self) -> Sequence[Mount]:
            """The mounts, each on top of the one before it. Called once."""

        def release(self) -> None:
            """Nobody uses the mounts any more. Called once for each `mount`, whatever happened."""

        def identity_mapping(self) -> IDMap | None:
            """How owners on the mount are written; None: as they are."""

    class Reference(Protocol):
        """Something with files in it that can be mounted: a snapshot, a layer, an image."""

        def mount(self, readonly: bool = True) -> Mountable:
            """Get ready to be mounted."""


class Mounts:
    """A Mountable of fixed mounts, which has nothing to release.

    Args:
        mounts: as `Mountable.mounts` gives them.
        idmap: as `Mountable.identity_mapping` gives it.
    """

    __slots__ = ("_idmap", "_mounts")

    def __init__(self, mounts: Sequence[Mount], idmap: IDMap | None = None) -> None:
        self._mounts = tuple(mounts)
        self._idmap = idmap

    def mounts(self) -> Sequence[Mount]:
        return self._mounts

    def release(self) -> None:
        pass

    def identity_mapping(self) -> IDMap | None:
        return self._idmap


class DirectoryRef:
    """A directory, by a bind mount, so that an export never writes to it, not even access times.

    Args:
        path: the directory.
        idmap: host to container owners.
        recursive: take along what is mounted below it; else there are empty directories.
    """

    __slots__ = ("_absolute", "_idmap", "_recursive", "path")

    def __init__(self, path: Path, *, idmap: IDMap | None = None, recursive: bool = False) -> None:
        self.path: str = _path(path, "directory")
        self._absolute = absolute(self.path)
        self._idmap = idmap
        self._recursive = recursive

    def mount(self, readonly: bool = True) -> Mounts:
        how = "rbind" if self._recursive else "bind"
        options = [how, "ro" if readonly else "rw"]
        return Mounts([Mount("bind", self._absolute, options)], self._idmap)

    def __str__(self) -> str:
        return f"dir:{printable(self.path)}"

    def __repr__(self) -> str:
        return f"DirectoryRef({self.path!r})"


class OverlayRef:
    """Layers on top of each other, as overlayfs merges them: whiteouts and opaque directories take effect.

    Args:
        lower: the directories, the bottom one first, as an image's manifest lists its layers (and the
            other way round than in the option lowerdir of mount(8)).
        upper: one more, above them.
        work: an empty directory on the file system of `upper`, which the kernel needs to mount it
            read-write; not used for a read-only mount, which never touches `upper`.
        idmap: host to container owners.
        options: further options of overlayfs, such as "userxattr".

    Raises:
        OptionError: there is no layer, or one is no path.
    """

    __slots__ = ("_idmap", "_layers", "_options", "_work", "lower", "upper", "work")

    def __init__(
        self,
        lower: Sequence[Path],
        upper: Path | None = None,
        work: Path | None = None,
        *,
        idmap: IDMap | None = None,
        options: Sequence[str] = (),
    ) -> None:
        if isinstance(lower, (str, bytes, os.PathLike)):
            raise OptionError("lower must be a list of directories, not one", path=lower)
        self.lower: tuple[str, ...] = tuple(_path(layer, "layer") for layer in lower)
        self.upper: str | None = None if upper is None else _path(upper, "layer")
        self.work: str | None = None if work is None else _path(work, "work directory")
        # Bottom first.
        self._layers = [absolute(layer) for layer in (*self.lower, self.upper) if layer is not None]
        if not self._layers:
            raise OptionError("an overlay has at least one layer")
        self._work = None if self.work is None else absolute(self.work)
        self._idmap = idmap
        self._options = listed(options)

    def mount(self, readonly: bool = True) -> Mounts:
        """Raises OptionError when it cannot be mounted read-write: that takes lower, upper and work."""
        layers = self._layers
        if not readonly:
            if not self.lower or self.upper is None or self._work is None:
                raise OptionError(
                    "only an overlay with lower, upper and work can be written to", path=str(self)
                )
            options = [
                f"lowerdir={overlay_option(layers[-2::-1])}",
                f"upperdir={layers[-1]}",
                f"workdir={self._work}",
                *self._options,
            ]
            return Mounts([Mount("overlay", "overlay", options)], self._idmap)
        if len(layers) == 1:  # overlayfs wants two; one alone is what it holds, as in containerd
            return Mounts([Mount("bind", layers[0], ["rbind", "ro"])], self._idmap)
        options = ["ro", f"lowerdir={overlay_option(layers[::-1])}", *self._options]
        return Mounts([Mount("overlay", "overlay", options)], self._idmap)

    def __str__(self) -> str:
        layers = [layer for layer in (*self.lower, self.upper) if layer is not None]
        return f"overlay:{printable(overlay_option(layers))}"

    def __repr__(self) -> str:
        return f"OverlayRef({list(self.lower)!r}, {self.upper!r})"


class ImageRef:
    """A file that holds a file system, mounted by way of a loop device; or a block device.

    Args:
        path: the file.
        type: ext4, xfs, squashfs, erofs, btrfs or what else the kernel has; None: found out.
        idmap: host to container owners.
        options: further options of the file system.
        offset: where in the file the file system begins, in bytes.

    Raises:
        OptionError: a value makes no sense.
    """

    __slots__ = ("_absolute", "_idmap", "_offset", "_options", "_type", "path")

    def __init__(
        self,
        path: Path,
        type: str | None = None,
        *,
        idmap: IDMap | None = None,
        options: Sequence[str] = (),
        offset: int = 0,
    ) -> None:
        self.path: str = _path(path, "image")
        self._absolute = absolute(self.path)
        if type is not None and (not isinstance(type, str) or not type):
            raise OptionError(
                f"{type!r} is no file system", path=self.path, hint=f"such as {', '.join(KNOWN)}"
            )
        if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
            raise OptionError(f"offset must be a number of bytes, not {offset!r}", path=self.path)
        self._type = type
        self._idmap = idmap
        self._options = listed(options)
        self._offset = offset

    def mount(self, readonly: bool = True) -> Mounts:
        """Raises InputError when the file cannot be read or holds no file system that is known."""
        path = self._absolute
        kind = self._type or file_system_of(path, self._offset)
        options = ["ro" if readonly else "rw", "loop", *self._options]
        if self._offset:
            options.append(f"offset={self._offset}")
        if kind == "xfs" and "nouuid" not in options:
            options.append("nouuid")  # else a copy of an image that is mounted would be refused
        return Mounts([Mount(kind, path, options)], self._idmap)

    def __str__(self) -> str:
        return f"image:{printable(self.path)}"

    def __repr__(self) -> str:
        return f"ImageRef({self.path!r})"


def _path(path: Path, what: str) -> str:
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise OptionError(f"a {what} is a path, not {type(path).__name__}")
    text = os.fsdecode(path)
    if not text or "\0" in text:
        raise OptionError(f"a {what} cannot be named {text!r}")
    return text
