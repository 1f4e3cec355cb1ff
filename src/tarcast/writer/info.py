"""From a file's status to a `tarfile.TarInfo`, as tarfile makes it, asking once for each owner."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._core.links import LinkTable

_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
}


class Describer:
    """Makes TarInfo objects.

    Args:
        links: under which name an inode is in the archive.
    """

    def __init__(self, links: LinkTable) -> None:
        self._links = links
        self._users: dict[int, str] = {}
        self._groups: dict[int, str] = {}

    def describe(
        self,
        kind: type[tarfile.TarInfo],
        status: os.stat_result,
        path: str,
        arcname: str,
        *,
        dereference: bool,
    ) -> tarfile.TarInfo | None:
        """The entry for what has this status; None: no archive holds such a thing (a socket).

        OSError when the target of a symlink cannot be read.
        """
        mode = status.st_mode
        type_ = _TYPES.get(stat.S_IFMT(mode))
        if type_ is None:
            return None
        info = kind()
        info.name = arcname.lstrip("/")
        if type_ is tarfile.REGTYPE:
            first = None if dereference else self.first_name(status)
            if first is not None and first != info.name:
                type_ = tarfile.LNKTYPE
                info.linkname = first
            else:
                info.size = status.st_size
        elif type_ is tarfile.SYMTYPE:
            info.linkname = os.readlink(path)
        elif type_ in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            info.devmajor = os.major(status.st_rdev)
            info.devminor = os.minor(status.st_rdev)
        info.type = type_
        info.mode = mode
        info.uid = status.st_uid
        info.gid = status.st_gid
        info.mtime = status.st_mtime
        info.uname = self._user(status.st_uid)
        info.gname = self._group(status.st_gid)
        return info

    def first_name(self, status: os.stat_result) -> str | None:
        """The name under which the archive has this file, if it has more than one link."""
        if status.st_nlink < 2:
            return None
        name = self._links.find(status.st_dev, status.st_ino)
        return None if name is None else os.fsdecode(name)

    def remember(self, status: os.stat_result, info: tarfile.TarInfo) -> None:
        """The file is in the archive as `info`: other names of it may become links."""
        if status.st_nlink > 1 and info.isreg() and info.name and stat.S_ISREG(status.st_mode):
            self._links.add(status.st_dev, status.st_ino, os.fsencode(info.name))

    def _user(self, uid: int) -> str:
        name = self._users.get(uid)
        if name is None:
            try:
                name = pwd.getpwuid(uid).pw_name
            except KeyError:
                name = ""
            self._users[uid] = name
        return name

    def _group(self, gid: int) -> str:
        name = self._groups.get(gid)
        if name is None:
            try:
                name = grp.getgrgid(gid).gr_name
            except KeyError:
                name = ""
            self._groups[gid] = name
        return name
