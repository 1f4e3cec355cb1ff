"""What is said before gRPC: session headers, and the little HTTP/1.1 around them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarcast.errors import SessionError
from tarcast.session.wire.announce import ENCODED, HEALTH, ID, METHOD, NAME, SHARED_KEY, Announcement
from tarcast.session.wire.http1 import SWITCHING, Head, read_head, refusal, request

TEXT = st.text(max_size=30).map(str.strip)  # blanks around a header's value are not part of it
WORD = st.text("abcXYZ0189-_./", min_size=1, max_size=20)


def fields(announcement: Announcement) -> tuple[object, ...]:
    return tuple(getattr(announcement, name) for name in Announcement.__slots__)


# ---- announcements --------------------------------------------------------------------


@given(WORD, TEXT, TEXT, st.sets(WORD))
def test_announcement_survives_the_trip(id: str, name: str, key: str, methods: set[str]) -> None:
    sent = Announcement(id, name=name, shared_key=key, methods=methods)
    headers = sent.headers()
    assert fields(Announcement.read(headers)) == fields(sent)
    assert all((name + value).isascii() and (name + value).isprintable() for name, value in headers)
    assert all(name == name.lower() for name, _ in headers)
    raw = request("/session", headers)
    assert fields(Announcement.read(Head(raw.removesuffix(b"\r\n\r\n")).headers)) == fields(sent)


def test_announcement_of_plain_text_is_not_encoded() -> None:
    sent = Announcement("id", name="100% a+b", shared_key="k", methods=["/b.S/B", "/a.S/A"])
    assert sent.headers() == [
        ("x-docker-expose-session-uuid", "id"),
        ("x-docker-expose-session-name", "100% a+b"),
        ("x-docker-expose-session-sharedkey", "k"),
        ("x-docker-expose-session-grpc-method", "/a.s/a"),
        ("x-docker-expose-session-grpc-method", "/b.s/b"),
    ]


@pytest.mark.parametrize(
    ("key", "encoded"),
    [("é b", "%C3%A9+b"), ("a\nb", "a%0Ab"), ("\x7f+~", "%7F%2B~"), ("\udcff", "%FF")],
)
def test_announcement_encodes_keys_as_the_original_does(key: str, encoded: str) -> None:
    headers = Announcement("id", shared_key=key).headers()
    assert (SHARED_KEY, encoded) in headers
    assert (SHARED_KEY + ENCODED, "1") in headers
    assert Announcement.read(headers).shared_key == key


def test_announcement_is_read_whatever_the_case_and_the_first_value_counts() -> None:
    read = Announcement.read(
        [
            (ID.upper(), "first"),
            (ID, "second"),
            ("X-Docker-Expose-Session-Name", "me"),
            (METHOD.title(), "/Some.Service/Method"),
            (METHOD, "/other"),
            (SHARED_KEY, b"not text"),
            ("other", "header"),
        ]
    )
    assert fields(read) == (None, "first", {"/some.service/method", "/other"}, "me", "")


@pytest.mark.parametrize("flag", ["1", "t", "T", "TRUE", "true", "True"])
def test_announcement_decodes_what_is_flagged(flag: str) -> None:
    headers = [(ID, "x"), (NAME, "a%20+b"), (NAME + ENCODED, flag), (SHARED_KEY, "a%20+b")]
    read = Announcement.read(headers)
    assert (read.name, read.shared_key) == ("a  b", "a%20+b")


@pytest.mark.parametrize("flag", ["", "0", "yes", "tRUE", "false"])
def test_announcement_leaves_what_is_not_flagged(flag: str) -> None:
    assert Announcement.read([(ID, "x"), (NAME, "a%20+b"), (NAME + ENCODED, flag)]).name == "a%20+b"


@pytest.mark.parametrize(
    ("milliseconds", "seconds"),
    [
        ("1", 1.0),
        ("999", 1.0),
        ("1500", 1.5),
        ("60000", 60.0),
        ("0", None),
        ("000", None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("5s", None),
        ("٣", None),
        ("²", None),
        ("1" * 10, None),
        ("9" * 5000, None),
    ],
)
def test_announcement_health_timeout_is_in_milliseconds(milliseconds: str, seconds: float | None) -> None:
    assert Announcement.read([(ID, "x"), (HEALTH, milliseconds)]).health_timeout == seconds


def test_announcement_without_a_health_timeout_has_none() -> None:
    assert Announcement.read([(ID, "x")]).health_timeout is None


@pytest.mark.parametrize("id", ["", "a\nb", "a\0", "\x7f", "\u202e", "\u2028", "x" * 257])
def test_announcement_needs_a_sensible_id(id: str) -> None:
    with pytest.raises(SessionError, match="a session needs an id") as caught:
        Announcement.read([(ID, id)])
    assert len(str(caught.value)) < 600
    with pytest.raises(SessionError, match="a session needs an id"):
        Announcement.read([(NAME, "only")])
    assert Announcement.read([(ID, "x" * 256)]).id == "x" * 256


# ---- HTTP/1.1 ---------------------------------------------------------------------------


class Pieces:
    """A wire that has some pieces to give, and counts how often it is asked."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.asked = 0

    def receive(self) -> bytes:
        self.asked += 1
        return self.pieces.pop(0) if self.pieces else b""


def test_head_has_words_and_headers() -> None:
    head = Head(b"POST /session?x HTTP/1.1\r\nHost: a:80\r\nX-Empty:\r\nName: \t caf\xe9  \r\nHOST: b")
    assert head.words == ["POST", "/session?x", "HTTP/1.1"]
    assert head.headers == [("host", "a:80"), ("x-empty", ""), ("name", "café"), ("host", "b")]


def test_head_may_be_of_an_answer() -> None:
    assert Head(b"HTTP/1.1 409 Is there already").words == ["HTTP/1.1", "409", "Is there already"]
    assert Head(b"HTTP/1.1 101").words == ["HTTP/1.1", "101"]


def test_head_tokens_are_of_all_headers_of_that_name() -> None:
    head = Head(b"GET / HTTP/1.1\r\nConnection: Keep-Alive ,UPGRADE\r\nOther: x\r\nconnection: close")
    assert head.tokens("connection") == {"keep-alive", "upgrade", "close"}
    assert not head.tokens("upgrade") - {""}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1",
        b"GET /",
        b"GET / HTTP/1.0",
        b"PRI * HTTP/2.0",
        b"GET / HTTP/1.1\r\nno colon",
        b"GET / HTTP/1.1\r\n: no name",
        b"GET / HTTP/1.1\r\nName : value",
        b"GET / HTTP/1.1\r\nA: b\r\n folded: line",
        b"GET / HTTP/1.1\r\n",
        b"\xff\xfe\x00",
    ],
)
def test_head_that_is_malformed_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"no HTTP/1\.1|no header"):
        Head(raw)


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda raw: b"GET / HTTP/1.1\r\n" + raw))
def test_head_of_anything_is_a_head_or_a_value_error(raw: bytes) -> None:
    try:
        head = Head(raw)
    except ValueError:
        return
    assert all(name and "\r\n" not in name + value for name, value in head.headers)


def test_head_is_read_however_it_is_split() -> None:
    head, rest = b"GET / HTTP/1.1\r\nA: b", b"behind"
    whole = head + b"\r\n\r\n" + rest
    end = len(whole) - len(rest)
    for at in range(1, len(whole)):
        read = whole[end:at] if at >= end else rest  # what was not asked for is still to come
        assert read_head(Pieces(whole[:at], whole[at:])) == (head, read)
        assert read_head(Pieces(whole[at:]), whole[:at]) == (head, read)
    assert read_head(Pieces(*(whole[at : at + 1] for at in range(len(whole))))) == (head, b"")
    assert read_head(Pieces(), whole) == (head, rest)


def test_head_is_read_no_further_than_its_end() -> None:
    wire = Pieces(b"A\r\n\r", b"\nx", b"not this")
    assert read_head(wire) == (b"A", b"x")
    assert wire.asked == 2


def test_head_without_an_end_is_given_up() -> None:
    with pytest.raises(SessionError, match="closed the connection"):
        read_head(Pieces(b"GET / HTTP/1.1\r\n"))
    wire = Pieces(*[b"x" * 4096] * 1000)
    with pytest.raises(SessionError, match="more than 65536 bytes of headers"):
        read_head(wire)
    assert wire.asked == 16


def test_head_in_memoryviews_is_read_at_once() -> None:
    buffer = bytearray(b"AB\r\n")

    class Reusing(Pieces):
        def receive(self) -> bytes:
            if self.asked:
                buffer[:] = b"\r\nxy"
            self.asked += 1
            return memoryview(buffer)  # type: ignore[return-value]

    assert read_head(Reusing()) == (b"AB", b"xy")


def test_request_asks_for_an_upgrade() -> None:
    raw = request("/session", [("x-a", "1"), ("x-a", "2")])
    assert raw.endswith(b"\r\n\r\n")
    head = Head(raw.removesuffix(b"\r\n\r\n"))
    assert head.words == ["POST", "/session", "HTTP/1.1"]
    assert head.tokens("connection") == {"upgrade"}
    assert head.tokens("upgrade") == {"h2c"}
    assert head.headers[0] == ("host", "localhost")
    assert head.headers[-2:] == [("x-a", "1"), ("x-a", "2")]


def test_answer_that_switches_is_complete() -> None:
    raw, rest = read_head(Pieces(SWITCHING))
    head = Head(raw)
    assert (head.words[1], rest) == ("101", b"")
    assert (head.tokens("connection"), head.tokens("upgrade")) == ({"upgrade"}, {"h2c"})


@pytest.mark.parametrize("text", ["", "plain", "é 文", "lone \udcff surrogate", "two\nlines"])
def test_refusal_says_how_long_it_is(text: str) -> None:
    raw, body = read_head(Pieces(refusal("409 Conflict", text)))
    head = Head(raw)
    assert head.words == ["HTTP/1.1", "409", "Conflict"]
    assert dict(head.headers)["content-length"] == str(len(body))
    assert head.tokens("connection") == {"close"}
    assert body == text.encode(errors="replace") + b"\n"
