"""What is to be exported and has to be mounted first: overlay layers, file-system images, directories."""

from .mount import Mount
from .mounter import LocalMounter
from .mounting import mounted
from .references import DirectoryRef, ImageRef, Mounts, OverlayRef

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .references import Mountable as Mountable
    from .references import Reference as Reference

__all__ = ["DirectoryRef", "ImageRef", "LocalMounter", "Mount", "Mounts", "OverlayRef", "mounted"]
