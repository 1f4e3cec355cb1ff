"""Mounts on a directory, as mount(8) makes them: for older kernels, and for other processes to see."""

from __future__ import annotations

import errno
import os
import re

from tarcast._core import mounts as kernel
from tarcast._core.descriptor import Descriptor, open_file
from tarcast.errors import InputError, os_error

from . import loop
from .detached import failure
from .mount import Parsed, overlay_layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .mount import Mount

# linux/mount.h: MS_* of mount(2), and the ATTR_* that say the same
_FLAGS = (
    (kernel.ATTR_RDONLY, 1),
    (kernel.ATTR_NOSUID, 2),
    (kernel.ATTR_NODEV, 4),
    (kernel.ATTR_NOEXEC, 8),
    (kernel.ATTR_NOSYMFOLLOW, 256),
    (kernel.ATTR_NOATIME, 1024),
    (kernel.ATTR_NODIRATIME, 2048),
    (kernel.ATTR_STRICTATIME, 1 << 24),
)
_REMOUNT, _BIND, _REC, _PRIVATE = 32, 4096, 16384, 1 << 18
# In a user namespace these cannot be taken away from what is bound (mount_namespaces(7)).
_LOCKED = os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME
_PAGE = 4096  # of options, as mount(2) takes them


def attach(mounts: Sequence[Mount], target: str) -> None:
    """Mount all of them on the directory `target`, one on top of the other.

    Raises:
        InputError: the kernel does not mount one; those before it are for `detach`.
    """
    for mount in mounts:
        _mount(mount, os.fsencode(target))


def detach(target: str, count: int) -> None:
    """Take away up to `count` mounts from `target`, whoever still uses them.

    Raises:
        OSError: the kernel refuses.
    """
    for _ in range(count):
        try:
            kernel.detach(os.fsencode(target))
        except OSError as error:
            # EINVAL: not a mount point any more. EPERM: who may not unmount has mounted nothing.
            if error.errno not in (errno.EINVAL, errno.EPERM):
                raise


def _mount(mount: Mount, target: bytes) -> None:
    parsed = Parsed(mount)
    flags = sum(flag for attribute, flag in _FLAGS if parsed.attributes & attribute)
    source = os.fsencode(mount.source)
    opened: list[Descriptor] = []
    try:
        if mount.is_bind:
            bind = _BIND | (_REC if parsed.recursive else 0)
            kernel.mount(source, target, b"", bind, b"")
            # Those below too: else what becomes of them here becomes of them where they come from.
            kernel.mount(b"", target, b"", _PRIVATE | _REC, b"")
            for place in [target, *(_below(target) if parsed.recursive else ())] if flags else ():
                locked = os.statvfs(place).f_flag & _LOCKED  # the numbers of ST_* are those of MS_*
                kernel.mount(b"", place, b"", _REMOUNT | _BIND | flags | locked, b"")
            return
        if parsed.loop:
            device, name = loop.attach(mount.source, offset=parsed.offset, readonly=mount.readonly)
            opened.append(device)
            source = os.fsencode(name)
        data = _data(mount, parsed, opened)
        kernel.mount(source, target, os.fsencode(mount.type), flags, data)
    except OSError as error:
        if isinstance(error, InputError):
            raise
        raise failure(error, mount) from error
    finally:
        for descriptor in opened:
            descriptor.close()


def _below(target: bytes) -> list[bytes]:
    """Where something is mounted below a directory (proc_pid_mountinfo(5))."""
    with open("/proc/self/mountinfo", "rb") as file:
        places = [line.split(b" ", 5)[4] for line in file]
    escaped = [re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), place) for place in places]
    return [place for place in escaped if place.startswith(target + b"/")]


def _data(mount: Mount, parsed: Parsed, opened: list[Descriptor]) -> bytes:
    """The options of the file system as mount(2) takes them: one string, with commas between."""
    options = []
    for name, value in parsed.rest:
        if name == "ro" and value is None:
            continue  # is a flag here
        if mount.type == "overlay" and name == "lowerdir" and value is not None:
            # By descriptor: paths with commas and colons, and many layers, would not fit.
            layers = _open_layers(value)
            opened.extend(layers)
            value = ":".join(f"/proc/self/fd/{layer.fileno()}" for layer in layers)
        options.append(name if value is None else f"{name}={value}")
    data = os.fsencode(",".join(options))
    if len(data) >= _PAGE:
        raise InputError(
            f"has options of {len(data)} bytes, and this kernel takes {_PAGE - 1}",
            path=mount.source,
            step=f"mount {mount.type}",
            hint="use fewer layers, or Linux 6.13",
        )
    return data


def _open_layers(option: str) -> list[Descriptor]:
    """The directories in the value of "lowerdir=", open: so it is known which one cannot be had."""
    layers = []
    for path in overlay_layers(option):
        try:
            layers.append(open_file(path, os.O_PATH | os.O_DIRECTORY))
        except OSError as error:
            raise os_error(InputError, error, path=path, step="open layer") from error
    return layers
