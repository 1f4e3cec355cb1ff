"""What is to be mounted: `Mount`, and what its options mean."""

from __future__ import annotations

import os

from tarcast._core import mounts as kernel
from tarcast.errors import InputError, OptionError, os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Mount:
    """One mount, in the words of fstab(5) and of containerd's snapshots.

    Args:
        type: a file system such as "overlay" or "ext4", or "bind".
        source: what is mounted: a directory, a device, an image file with the option "loop"; a mere
            name for file systems without a source.
        options: those of mount(8), such as "ro", "rbind", "lowerdir=/a:/b", "loop".

    Raises:
        OptionError: a value is no text, or holds a NUL.
    """

    __slots__ = ("options", "source", "type")

    def __init__(self, type: str, source: str, options: Sequence[str] = ()) -> None:
        options = listed(options)
        for value in (type, source, *options):
            if not isinstance(value, str) or "\0" in value:
                raise OptionError(f"a mount cannot have {value!r}", path=str(source), step="mount")
        self.type: str = type
        self.source: str = source
        self.options: Sequence[str] = options

    @property
    def is_bind(self) -> bool:
        """Does it show a directory a second time, and no file system of its own?"""
        return self.type in ("bind", "rbind") or not {"bind", "rbind"}.isdisjoint(self.options)

    @property
    def readonly(self) -> bool:
        """What the last of "ro" and "rw" says; "rw" without either."""
        return ([o for o in self.options if o in ("ro", "rw")] or ["rw"])[-1] == "ro"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mount):
            return NotImplemented
        return (self.type, self.source, self.options) == (other.type, other.source, other.options)

    def __hash__(self) -> int:
        return hash((self.type, self.source, self.options))

    def __repr__(self) -> str:
        return f"Mount({self.type!r}, {self.source!r}, {list(self.options)!r})"


# Options of any mount, and the attributes that each sets and clears (mount_setattr(2)).
_ATTRIBUTES = {
    "ro": (kernel.ATTR_RDONLY, 0),
    "rw": (0, kernel.ATTR_RDONLY),
    "nosuid": (kernel.ATTR_NOSUID, 0),
    "suid": (0, kernel.ATTR_NOSUID),
    "nodev": (kernel.ATTR_NODEV, 0),
    "dev": (0, kernel.ATTR_NODEV),
    "noexec": (kernel.ATTR_NOEXEC, 0),
    "exec": (0, kernel.ATTR_NOEXEC),
    "nodiratime": (kernel.ATTR_NODIRATIME, 0),
    "diratime": (0, kernel.ATTR_NODIRATIME),
    "nosymfollow": (kernel.ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, kernel.ATTR_NOSYMFOLLOW),
    "noatime": (kernel.ATTR_NOATIME, kernel.ATTR_ATIME),
    "strictatime": (kernel.ATTR_STRICTATIME, kernel.ATTR_ATIME),
    "relatime": (0, kernel.ATTR_ATIME),
}
# Said in another way, or of no consequence for a mount that nobody else sees.
_PASSED_OVER = frozenset(
    [
        "defaults",
        "bind",
        "rbind",
        "loop",
        "auto",
        "noauto",
        "private",
        "rprivate",
        "slave",
        "rslave",
        "shared",
        "rshared",
        "unbindable",
    ]
)


class Parsed:
    """The options of a mount, sorted by who they are for.

    Attributes:
        attributes: ATTR_* of the mount.
        recursive: a bind takes along what is mounted below.
        loop: the source is an image file that needs a loop device.
        offset: where in the image the file system begins, in bytes.
        rest: (name, value or None) for the file system, "ro" among them.
    """

    __slots__ = ("attributes", "loop", "offset", "recursive", "rest")

    def __init__(self, mount: Mount) -> None:
        self.attributes: int = 0
        self.recursive: bool = mount.type == "rbind" or "rbind" in mount.options
        self.loop: bool = "loop" in mount.options
        self.offset: int = 0
        self.rest: list[tuple[str, str | None]] = [("ro", None)] if mount.readonly else []
        for option in mount.options:
            name, equals, value = option.partition("=")
            if option in _ATTRIBUTES:
                added, cleared = _ATTRIBUTES[option]
                self.attributes = self.attributes & ~cleared | added
            elif name == "offset" and self.loop:
                if not (value.isascii() and value.isdigit()):
                    raise OptionError(f"{option!r} is no number of bytes", path=mount.source, step="mount")
                self.offset = int(value)
            elif option == "remount":
                raise OptionError("a remount changes a mount, it is none", path=mount.source, step="mount")
            elif option and option not in _PASSED_OVER:
                self.rest.append((name, value if equals else None))


def overlay_layers(option: str) -> list[str]:
    r"""The directories in the value of "lowerdir=", top first; "\:" is a colon, "\\" a backslash."""
    layers = [""]
    escaped = False
    for character in option:
        if escaped or character not in ":\\":
            layers[-1] += character
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            layers.append("")
    return layers


def overlay_option(layers: Sequence[str]) -> str:
    """The reverse: `layers`, top first, as the value of "lowerdir="."""
    return ":".join(layer.replace("\\", "\\\\").replace(":", "\\:") for layer in layers)


def listed(options: Sequence[str]) -> tuple[str, ...]:
    """`options`, which must be several texts and not one."""
    if isinstance(options, str) or not hasattr(options, "__iter__"):
        raise OptionError(f"options must be a list, not {options!r}", step="mount")
    return tuple(options)


def absolute(path: str) -> str:
    """`path` from the root: what a reference names must not depend on a later chdir.

    Raises:
        InputError: it is relative, and the current directory was removed.
    """
    if os.path.isabs(path):
        return path
    try:
        return os.path.join(os.getcwd(), path)
    except OSError as error:
        raise os_error(InputError, error, path=path, step="find the current directory") from error
