"""Loop devices: a file becomes a block device (loop(4)), until the last user of the device is gone."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

from tarcast._core.descriptor import Descriptor, open_file
from tarcast.errors import InputError, os_error

# linux/loop.h
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_READ_ONLY = 1
_AUTOCLEAR = 4
# struct loop_config: descriptor, block size, struct loop_info64, reserved
_CONFIG = struct.Struct("=II QQQQQ IIII 64s64s32s QQ 64x")
# Somebody else may be given the same free device at the same time.
_ATTEMPTS = 64


def attach(path: str, *, offset: int = 0, readonly: bool = True) -> tuple[Descriptor, str]:
    """Make a block device of the image at `path`; a block device that may be written is taken as it is.

    Args:
        path: a file.
        offset: where the file system begins, in bytes.
        readonly: whether nothing may ever be written to it.

    Returns:
        The open device, and its path. The kernel frees a loop device when neither this descriptor
        nor a mount uses it any more, also after a kill.

    Raises:
        InputError: the image cannot be opened, or there is no loop device to be had.
    """
    flags = (os.O_RDONLY if readonly else os.O_RDWR) | os.O_NONBLOCK | os.O_NOCTTY
    try:
        image = open_file(path, flags)
    except OSError as error:
        raise os_error(InputError, error, path=path, step="open image") from error
    kind = os.fstat(image.fileno()).st_mode
    # Only to be read, a device too gets a loop device: that cannot be written, and no journal is replayed.
    if stat.S_ISBLK(kind) and not offset and not readonly:
        return image, path
    with image:
        if not stat.S_ISREG(kind) and not stat.S_ISBLK(kind):
            raise InputError("is no file", path=path, step="open image", hint="name a file-system image")
        try:
            return _configure(image.fileno(), path, offset, flags, readonly)
        except OSError as error:
            hint = ""
            if error.errno in (errno.EPERM, errno.EACCES):
                hint = "a loop device needs CAP_SYS_ADMIN outside of user namespaces: run as root"
            elif error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
                hint = "load the kernel module 'loop', and in a container let it have /dev/loop*"
            raise os_error(InputError, error, path=path, step="set up loop device", hint=hint) from error


def _configure(image: int, path: str, offset: int, flags: int, readonly: bool) -> tuple[Descriptor, str]:
    set_up = _AUTOCLEAR | (_READ_ONLY if readonly else 0)
    config = _CONFIG.pack(
        *(image, 0),
        *(0, 0, 0, offset, 0),
        *(0, 0, 0, set_up),
        *(os.fsencode(path)[:63], b"", b"", 0, 0),
    )
    with open_file("/dev/loop-control", os.O_RDWR) as control:
        for attempt in range(_ATTEMPTS):
            name = f"/dev/loop{fcntl.ioctl(control.fileno(), _LOOP_CTL_GET_FREE)}"
            device = open_file(name, flags)
            try:
                fcntl.ioctl(device.fileno(), _LOOP_CONFIGURE, config)
            except OSError as error:
                device.close()
                if error.errno != errno.EBUSY or attempt == _ATTEMPTS - 1:
                    raise
            else:
                return device, name
    raise AssertionError("the loop above returns or raises")
