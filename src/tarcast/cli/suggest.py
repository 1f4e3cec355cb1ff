"""Errors about misspelt words, with what may have been meant."""

from __future__ import annotations

from tarcast.errors import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def unknown(what: str, word: str, words: Iterable[str], see: str) -> OptionError:
    """The error to raise where there is no `what` called `word`; its hint names the most similar of `words`.

    Args:
        what: "command" or "option".
        see: the command that lists them.
    """
    import difflib

    nearest = difflib.get_close_matches(word, words, n=1)
    hint = f"did you mean {nearest[0]!r}? See {see!r}" if nearest else f"see {see!r}"
    return OptionError(f"there is no {what} {word!r}", hint=hint)
