"""`mounted`: a reference as a Tree, while a block runs."""

from __future__ import annotations

import contextlib

from tarcast.cleanup import Cleanup
from tarcast.tree import Opened, Tree

from .mounter import LocalMounter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from tarcast.options import TreeOptions

    from .references import Reference


def mount_tree(reference: Reference, cleanup: Cleanup, **options: Unpack[TreeOptions]) -> Tree:
    """`reference`, mounted read-only until `cleanup` runs, as a Tree with `options`.

    Its identity mapping is the tree's id map, unless `options` have one.

    Raises:
        InputError: it cannot be mounted.
        OptionError: an option makes no sense.
    """
    mountable = reference.mount(readonly=True)
    mounter = LocalMounter(mountable)
    cleanup.push(f"unmount {reference}", mounter.unmount)
    path = mounter.mount()
    if options.get("idmap") is None:
        options["idmap"] = mountable.identity_mapping()
    tree = Tree(path, **options)
    if mounter.fd >= 0:
        tree.opened = Opened(mounter.fd, str(reference))
    return tree


@contextlib.contextmanager
def mounted(reference: Reference, **options: Unpack[TreeOptions]) -> Iterator[Tree]:
    """Mount a reference read-only for the time of a `with` block, as a Tree for `write_tar`.

    Args:
        reference: a DirectoryRef, OverlayRef, ImageRef, or anything with their protocol.
        options: those of Tree. Without `idmap` the reference's identity mapping holds.

    Raises:
        InputError: it cannot be mounted; the message says what is missing.
        CleanupError: at the end of the block, when unmounting or releasing failed.
    """
    with Cleanup() as cleanup:
        yield mount_tree(reference, cleanup, **options)
