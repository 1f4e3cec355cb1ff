"""Mounts that are attached nowhere: only a descriptor leads to them, and they go with it.

By the calls of Linux 5.2 (fsopen(2), fsmount(2), open_tree(2)) and 5.12 (mount_setattr(2)). Nobody else sees
such a mount, there is no mount point to remove, and after a kill nothing is left of it.
"""

from __future__ import annotations

import errno
import os

from tarcast._core import mounts as kernel
from tarcast.errors import InputError, os_error

from . import loop, namespace
from .mount import Parsed, overlay_layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tarcast._core.descriptor import Descriptor
    from tarcast._core.mounts import MountError

    from .mount import Mount

# What fsconfig(2) takes as the value of a parameter, in bytes.
_LONGEST = 255
_LAYER = b"lowerdir+"


class Unsupported(Exception):
    """This kernel, or what confines the process, has no such mounts, or not of this kind."""


def attach(mount: Mount) -> Descriptor:
    """Mount it, in a user namespace if it takes that; the descriptor is the mount's root.

    Raises:
        Unsupported: not in this way, but perhaps visibly.
        InputError: the kernel does not mount it, or what it needs cannot be had; `errno` says why.
        OptionError: its options make no sense.
    """
    parsed = Parsed(mount)
    opened: list[Descriptor] = []
    try:
        parameters = [] if mount.is_bind else _parameters(mount, parsed, opened)
        try:
            return _make(mount, parsed, parameters)
        except kernel.MountError as error:
            if error.errno != errno.EPERM:
                raise
        return _make(mount, parsed, namespace.parameters(mount, parameters), elsewhere=True)
    except kernel.MountError as error:
        raise _failure(mount, error) from error
    finally:
        for descriptor in opened:
            descriptor.close()


def _parameters(
    mount: Mount, parsed: Parsed, opened: list[Descriptor]
) -> list[tuple[bytes, bytes | str | None]]:
    """For fsconfig(2); what has to stay open until the mount is made is put into `opened`."""
    source = mount.source
    if parsed.loop:
        device, source = loop.attach(source, offset=parsed.offset, readonly=mount.readonly)
        opened.append(device)
    parameters: list[tuple[bytes, bytes | str | None]] = [(b"source", os.fsencode(source))]
    for name, value in parsed.rest:
        if mount.type == "overlay" and name == "lowerdir" and value is not None:
            # By descriptor (Linux 6.13): there is no limit to the length of a path, and none to their number.
            parameters.extend((_LAYER, layer) for layer in overlay_layers(value))
        elif value is None:
            parameters.append((os.fsencode(name), None))
        elif len(os.fsencode(value)) > _LONGEST:
            raise Unsupported
        else:
            parameters.append((os.fsencode(name), os.fsencode(value)))
    return parameters


def _make(
    mount: Mount,
    parsed: Parsed,
    parameters: list[tuple[bytes, bytes | str | None]],
    *,
    elsewhere: bool = False,
) -> Descriptor:
    try:
        return kernel.make_mount(
            None if mount.is_bind else os.fsencode(mount.type),
            os.fsencode(mount.source),
            parameters,
            attributes=parsed.attributes,
            recursive=parsed.recursive,
            elsewhere=elsewhere,
        )
    except kernel.MountError as error:
        at = error.parameter
        name, value = (None, None) if at is None else parameters[at]
        no_such_call = error.errno == errno.ENOSYS and error.stage not in ("configure", "namespace")
        first_layer = at is not None and name == _LAYER and parameters[at - 1][0] != _LAYER
        if no_such_call or (error.errno == errno.EINVAL and first_layer):  # an older kernel
            raise Unsupported from error
        if name == _LAYER and error.errno != errno.EINVAL:
            hint = "a layer is a directory" if error.errno in (errno.ENOENT, errno.ENOTDIR) else ""
            raise os_error(InputError, error, path=value, step="open layer", hint=hint) from error
        raise


def _failure(mount: Mount, error: MountError) -> InputError:
    if error.stage == "namespace":
        return namespace.refused(mount, error)
    return failure(error, mount, log=error.log, stage=error.stage)


def failure(error: OSError, mount: Mount, *, log: str = "", stage: str = "") -> InputError:
    """`error` of a mount call with what it means here; `log` is what the kernel says of it."""
    kind = "bind" if mount.is_bind else mount.type
    hint = ""
    if error.errno == errno.ENODEV:
        hint = f"this kernel has no file system {kind!r}: load its module"
    elif error.errno == errno.EROFS:
        hint = "it was not unmounted cleanly: replay its journal first, by fsck or by mounting it once"
    elif error.errno in (errno.ENOENT, errno.ENOTDIR):
        hint = "check the path"
    elif error.errno == errno.EINVAL and mount.is_bind and stage == "open":
        hint = "in a user namespace what is mounted below must come along: bind recursively, or run as root"
    elif error.errno in (errno.EPERM, errno.EACCES) and not mount.is_bind:
        hint = f"mounting {kind} takes CAP_SYS_ADMIN outside of user namespaces: run as root"
    message = os.strerror(error.errno or 0)
    return InputError(
        f"{message} ({log})" if log else message,
        path=mount.source,
        step=f"mount {kind}",
        errno=error.errno,
        hint=hint,
    )
