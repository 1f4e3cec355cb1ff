"""What a client says of itself when it opens a session: BuildKit's session headers."""

from __future__ import annotations

from urllib.parse import quote_plus, unquote_plus

from tarcast.errors import SessionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_PREFIX = "x-docker-expose-session-"
ID = f"{_PREFIX}uuid"
NAME = f"{_PREFIX}name"
SHARED_KEY = f"{_PREFIX}sharedkey"
METHOD = f"{_PREFIX}grpc-method"
ENCODED = "-encoded"
HEALTH = "x-buildkit-session-health-custom-timeout"

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_MOST_ID = 256


class Announcement:
    """Session headers, whichever way they came.

    Attributes:
        id: of the session.
        name, shared_key: as the client says, or "".
        methods: the gRPC methods that it offers, in lower case.
        health_timeout: how often to ask whether the client lives, and how long to wait, in seconds;
            None for the default.
    """

    __slots__ = ("health_timeout", "id", "methods", "name", "shared_key")

    def __init__(
        self,
        id: str,
        *,
        name: str = "",
        shared_key: str = "",
        methods: Iterable[str] = (),
        health_timeout: float | None = None,
    ) -> None:
        self.id: str = id
        self.name: str = name
        self.shared_key: str = shared_key
        self.methods: frozenset[str] = frozenset(method.lower() for method in methods)
        self.health_timeout: float | None = health_timeout

    @classmethod
    def read(cls, headers: Iterable[tuple[str, str | bytes]]) -> Announcement:
        """From headers, or a call's metadata; the case of names does not matter.

        Raises:
            SessionError: there is no id, or it is no printable text of a sensible length.
        """
        values: dict[str, list[str]] = {}
        for key, value in headers:
            if isinstance(value, str):
                values.setdefault(key.lower(), []).append(value)

        def first(key: str) -> str:
            text = values.get(key, [""])[0]
            return (
                unquote_plus(text, errors="surrogateescape")
                if values.get(key + ENCODED, [""])[0] in _TRUE
                else text
            )

        id = first(ID)
        if not is_id(id):
            raise SessionError(f"a session needs an id, not {id[:_MOST_ID]!r}", step="open session")
        return cls(
            id,
            name=first(NAME),
            shared_key=first(SHARED_KEY),
            methods=values.get(METHOD, ()),
            health_timeout=_seconds(first(HEALTH)),
        )

    def headers(self) -> list[tuple[str, str]]:
        """(name in lower case, value) of every header, but for the wish for another health check."""
        made = [(ID, self.id)]
        for key, text in ((NAME, self.name), (SHARED_KEY, self.shared_key)):
            if text.isascii() and text.isprintable() and text == text.strip():  # HTTP drops blanks around it
                made.append((key, text))
            else:
                made += [(key, quote_plus(text, errors="surrogateescape")), (key + ENCODED, "1")]
        return made + [(METHOD, method) for method in sorted(self.methods)]


def is_id(text: str) -> bool:
    """Whether a session may have this id: what is before a colon does not count when it is looked for."""
    return (
        bool(text)
        and len(text) <= _MOST_ID
        and text.isprintable()
        and ":" not in text
        and text == text.strip()
    )


def _seconds(milliseconds: str) -> float | None:
    """As the original reads it: positive, and at least a second."""
    if not (milliseconds.isascii() and milliseconds.isdigit() and len(milliseconds) < 10) or not int(
        milliseconds
    ):
        return None
    return max(1.0, int(milliseconds) / 1000)
