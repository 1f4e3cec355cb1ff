"""User namespaces (see user_namespaces(7)): what can be mounted without privileges, and what is missing else.

A child in a namespace of its own makes a detached mount and is gone (see _core.mounts). The files are read
with the rights of whoever reads them, so nobody sees more than before.
"""

from __future__ import annotations

from tarcast.errors import InputError

from .mount import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Parameters = Sequence[tuple[bytes, bytes | str | None]]

# Files that say whether there may be user namespaces, the value that forbids them, and what to do.
_SWITCHES = (
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)
# In a namespace an overlay cannot read the trusted.* attributes with its marks, but user.* ones.
_USER_MARKS = "userxattr"


def inside() -> bool:
    """Is this process in a user namespace that is not the first one?"""
    try:
        with open("/proc/self/uid_map", encoding="utf-8") as file:
            return file.read().split() != ["0", "0", "4294967295"]
    except OSError:  # no /proc: nothing to go by
        return False


def user_options(mount: Mount) -> Mount:
    """`mount` as it has to be in a user namespace."""
    if mount.type != "overlay" or _USER_MARKS in mount.options:
        return mount
    return Mount(mount.type, mount.source, [*mount.options, _USER_MARKS])


def parameters(mount: Mount, given: Parameters) -> list[tuple[bytes, bytes | str | None]]:
    """The same for parameters of fsconfig(2)."""
    mark = _USER_MARKS.encode()
    if mount.type != "overlay" or (mark, None) in given:
        return list(given)
    return [*given[:1], (mark, None), *given[1:]]


def refused(mount: Mount, error: OSError) -> InputError:
    """There is neither the privilege to mount nor a user namespace."""
    return InputError(
        "mounting takes CAP_SYS_ADMIN or a user namespace, and there is neither",
        path=mount.source,
        step="mount",
        errno=error.errno,
        hint=_remedy(),
    )


def _remedy() -> str:
    for path, forbids, remedy in _SWITCHES:
        try:
            with open(path, encoding="utf-8") as file:
                if file.read().strip() == forbids:
                    return f"run as root, or allow user namespaces: {remedy}"
        except OSError:  # there is no such switch
            continue
    return "run as root, or where clone3(2) with CLONE_NEWUSER is allowed (containers mostly forbid it)"
