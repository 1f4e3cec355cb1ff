"""Images to build: what is copied into them, and Dockerfiles whose layers can be told apart afterwards.

No registry is needed: the first stage is a statically linked busybox. Each layer of a result has a file
that no other layer has, named by `layer_marks`.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.buildkit import busybox

_APPLETS = [
    "cat",
    "chmod",
    "chown",
    "dd",
    "ln",
    "mkdir",
    "mkfifo",
    "mknod",
    "mv",
    "rm",
    "sh",
    "touch",
    "truncate",
]
_numbers = itertools.count(1)

# Build steps run on this machine whatever the platform of the result is; only what they write differs.
# What runc mounts over is there from the beginning, as the root of a remapped user may not make it.
_TOOLS = """\
FROM --platform=$BUILDPLATFORM scratch AS tools
ARG TARGETARCH
SHELL ["/bin/sh", "-ec"]
COPY tools/ /
"""

_MAKE = r"""
WORKDIR /tree
RUN --network=none <<END
umask 022
name() { printf "%0$1d" 0; }
mkdir links modes names times z
echo "for $TARGETARCH" > arch
: > empty
dd if=/dev/urandom of=data bs=1000 count=700 2>&-
dd if=/dev/urandom of=hole bs=512 count=1 seek=4000 2>&-
truncate -s 3000001 only-hole
ln data links/data
ln data z/data
ln arch links/arch
ln -s ../data links/relative
ln -s /tree/data links/absolute
ln -s /../../outside links/above
ln -s nothing links/dangling
ln -s "/$(name 99)" links/long
ln links/absolute links/other
mkfifo -m 622 fifo
ln fifo links/fifo
for mode in 0 1 400 644 777 1777 2755 4755 6711 7777; do
    : > modes/f$mode
    mkdir modes/d$mode
    chmod $mode modes/f$mode modes/d$mode
done
echo owned > owned
chown 1000:2000 owned
chown -h 60000:3 links/dangling
for length in 99 100 101 154 155 156 255; do echo $length > names/$(name $length); done
deep=names/deep
for length in 60 80 100 120; do deep=$deep/$(name $length); mkdir -p $deep; echo $length > $deep/leaf; done
ln $deep/leaf names/to-deep
ln -s $deep/leaf names/at-deep
for odd in 'é' '日本' ' lead' 'trail ' '-rf' 'a=b' 'back\slash'; do echo odd > "names/$odd"; done
for odd in '<&>' '"' 'new\nline' 'tab\t' '\001\010\014\177' '\342\200\250' 'raw\377\376' '\355\240\200'; do
    echo odd > "names/$(printf "$odd")"
done
for seconds in 0 1 1700000000 2147483648 4294967296 8589934592; do
    echo $seconds > times/$seconds
    touch -d @$seconds times/$seconds
done
touch -h -d @12345 links/above
touch -d @54321 times
: > .first-@TOKEN@-$TARGETARCH
END
"""

_DEVICES = r"""
RUN --network=none <<END
mkdir devices
mknod -m 666 devices/null c 1 3
mknod -m 660 devices/disk b 259 70000
ln devices/null devices/zero
echo high > devices/owner
chown 3000000:4000000000 devices/owner
chmod 4711 devices/owner
: > .devices-@TOKEN@-$TARGETARCH
END
"""

# Each line is something that an overlay keeps in its own way: a whiteout, an opaque directory, a copy of
# a file from below whose hard links stay there.
_CHANGE = r"""
RUN --network=none <<END
rm empty times/0
rm -r modes
mkdir modes
echo new > modes/new
rm -r names/deep
echo file > names/deep
rm owned
mkdir owned
echo inside > owned/inside
chmod 600 links/data
echo more >> links/arch
ln hole links/hole
touch -d @1234567890 z/data fifo
chmod 1777 times
mv z y
ln -sf elsewhere links/dangling
: > .second-@TOKEN@-$TARGETARCH
END
"""

_COPY = r"""
RUN --network=none mkdir modes/later && : > modes/later/file && rm y/data && : > .third-@TOKEN@-$TARGETARCH
COPY --link mark /tree/.fourth-@TOKEN@
COPY --from=made /tree/ /copied/
COPY --from=made /tree/.first-@TOKEN@-$TARGETARCH /copied/.fifth-@TOKEN@-$TARGETARCH
"""


@dataclass(frozen=True)
class Image:
    """What to build: a context, the text of a Dockerfile, and a file of each layer, the lowest first."""

    context: Path
    dockerfile: str
    marks: tuple[str, ...]

    def layer_marks(self, architecture: str) -> list[str]:
        """The marks in the result for that one, such as "amd64"."""
        return [mark.replace("$TARGETARCH", architecture) for mark in self.marks]


def image_of_everything(below: Path, *, devices: bool) -> Image:
    """Two stages and nine layers with what tar and overlays find hard; its stage "made" has fewer.

    Args:
        below: where the context is made.
        devices: with device nodes, and owners that only an unmapped root can give.
    """
    context, token = _context(below)
    made = _MAKE + (_DEVICES if devices else "")
    text = f"{_TOOLS}FROM tools AS made\n{made}\nFROM made\n{_CHANGE}{_COPY}"
    marks = ["tools-@TOKEN@", "tree/.first-@TOKEN@-$TARGETARCH"]
    marks += ["tree/.devices-@TOKEN@-$TARGETARCH"] if devices else []
    marks += [f"tree/.{name}-@TOKEN@-$TARGETARCH" for name in ("second", "third")]
    marks += [
        "tree/.fourth-@TOKEN@",
        "copied/.first-@TOKEN@-$TARGETARCH",
        "copied/.fifth-@TOKEN@-$TARGETARCH",
    ]
    return Image(context, _filled(text, token), tuple(_filled(mark, token) for mark in marks))


def image_of_one_file(below: Path) -> Image:
    """One layer with one file."""
    context, token = _context(below)
    text = _filled("FROM scratch\nCOPY mark /mark-@TOKEN@\n", token)
    return Image(context, text, (f"mark-{token}",))


def image_of_nothing(below: Path) -> Image:
    """No layer at all, so the daemon has no reference to export."""
    return Image(_context(below)[0], "FROM scratch\n", ())


def _context(below: Path) -> tuple[Path, str]:
    context = Path(tempfile.mkdtemp(prefix="context-", dir=below))
    token = f"{context.name.removeprefix('context-')}{next(_numbers)}"
    tools = context / "tools"
    for name in ("bin", "dev", "etc", "proc", "sys"):
        (tools / name).mkdir(parents=True)
    shutil.copy(busybox(), tools / "bin" / "busybox")
    for applet in _APPLETS:
        os.symlink("busybox", tools / "bin" / applet)
    for file in (tools / "etc" / "hosts", tools / "etc" / "resolv.conf", tools / f"tools-{token}"):
        file.touch()
    (context / "mark").write_text("mark\n")
    return context, token


def _filled(text: str, token: str) -> str:
    return text.replace("@TOKEN@", token)
