"""`--ref [NAME=]KIND:WHERE`: what is to be mounted for the time of an export."""

from __future__ import annotations

from tarcast.errors import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tarcast.snapshot import Reference

KINDS = ("overlay", "image", "dir")


def reference_of(text: str) -> tuple[str | None, Reference]:
    r"""The name (None without one) and the reference that `text` describes.

    overlay:LAYER:LAYER... are directories, the bottom one first ("\:" is a colon), image:FILE a
    file-system image, dir:PATH a directory.

    Raises:
        OptionError: it is none of these, or a part of it is empty.
    """
    name: str | None = None
    rest = text
    if not text.startswith(tuple(f"{kind}:" for kind in KINDS)):
        name, _, rest = text.partition("=")
    kind, colon, where = rest.partition(":")
    if kind not in KINDS or not colon or not where or name == "":
        raise OptionError(
            f'"{text}" is no reference: expected [NAME=]overlay:LAYER:LAYER..., image:FILE or dir:PATH',
            hint="see 'tarcast create --help'",
        )
    from tarcast.snapshot import DirectoryRef, ImageRef, OverlayRef
    from tarcast.snapshot.mount import overlay_layers

    if kind == "overlay":
        layers = overlay_layers(where)
        if not all(layers):
            raise OptionError(f'"{text}" has an empty layer', hint="is a shell variable unset?")
        return name, OverlayRef(layers)
    return name, ImageRef(where) if kind == "image" else DirectoryRef(where)
