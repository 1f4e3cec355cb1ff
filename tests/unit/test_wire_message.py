"""Messages on the wire: built from pieces of an archive, framed by hand, and those of the control API."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given
from hypothesis import strategies as st

from tarcast._core.message import MessageBuilder
from tarcast.session.wire.control import messages
from tarcast.session.wire.framing import decode, encode

LEAST, MOST = 1 << 14, (1 << 21) - 1
PATTERN = bytes(range(251)) * 1200


@functools.cache
def bytes_message() -> Any:
    """protobuf's own `BytesMessage`."""
    file = descriptor_pb2.FileDescriptorProto(name="judge.proto", package="judge", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    message = file.message_type.add(name="BytesMessage")
    message.field.add(name="data", number=1, type=field.TYPE_BYTES, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("judge.BytesMessage"))


def framed(data: bytes) -> bytes:
    return bytes_message()(data=data).SerializeToString()


# ---- MessageBuilder -----------------------------------------------------------------


def fill(builder: MessageBuilder, piece: Any) -> list[bytes]:
    """The messages that become full with `piece`."""
    full = []
    at = 0
    while at < len(piece):
        before = at
        at, message = builder.take(piece, at)
        assert before < at <= len(piece)
        if message is not None:
            full.append(message)
    return full


@given(st.integers(LEAST, 40_000), st.lists(st.integers(0, 60_000), max_size=5), st.integers(0, 250))
def test_builder_keeps_every_byte_however_they_come(capacity: int, sizes: list[int], offset: int) -> None:
    builder = MessageBuilder(capacity)
    full, given_ = [], b""
    for at, size in enumerate(sizes, start=offset):
        piece = PATTERN[at : at + size]
        given_ += piece
        full += fill(builder, memoryview(piece))
    rest = builder.rest()
    expected = [given_[at : at + capacity] for at in range(0, len(given_), capacity)]
    if len(given_) % capacity:
        assert rest == framed(expected.pop())
    else:
        assert rest is None
    assert full == [framed(data) for data in expected]
    assert builder.rest() is None


@pytest.mark.parametrize("capacity", [LEAST, LEAST + 1, 1 << 20, (1 << 20) - 64, MOST])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_builder_is_full_at_its_capacity_and_not_before(capacity: int, beyond: int) -> None:
    data = (PATTERN * 7)[: capacity + beyond]
    assert len(data) == capacity + beyond
    builder = MessageBuilder(capacity)
    at, message = builder.take(data)
    assert at == min(len(data), capacity)
    assert message == (framed(data[:capacity]) if beyond >= 0 else None)
    if beyond > 0:
        assert builder.take(data, at) == (len(data), None)
    rest = builder.rest()
    assert rest == (None if beyond == 0 else framed(data[capacity:] if beyond > 0 else data))


@pytest.mark.parametrize("size", [1, 127, 128, 16383, 16384, 99_999])
def test_builder_rest_is_as_short_as_protobuf_writes_it(size: int) -> None:
    builder = MessageBuilder(100_000)
    for data in (PATTERN[:size], PATTERN[1 : 1 + size]):  # it begins anew
        assert builder.take(data) == (size, None)
        assert builder.rest() == framed(data)
    assert builder.rest() is None


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))])
def test_builder_takes_any_view(kind: Any) -> None:
    builder = MessageBuilder(LEAST)
    assert builder.take(kind(b"0123456789"), 4) == (10, None)
    assert builder.rest() == framed(b"456789")


def test_builder_copies_what_it_is_lent() -> None:
    builder = MessageBuilder(LEAST)
    piece = bytearray(PATTERN[:LEAST])
    _, message = builder.take(piece)
    builder.take(piece[:100])
    piece[:] = bytes(LEAST)
    assert message == framed(PATTERN[:LEAST])
    assert builder.rest() == framed(PATTERN[:100])


def test_builder_of_nothing_has_no_messages() -> None:
    builder = MessageBuilder(LEAST)
    assert builder.take(b"") == (0, None)
    assert builder.take(b"abc", 3) == (3, None)
    assert builder.rest() is None


@pytest.mark.parametrize("start", [-1, 4, 1 << 40])
def test_builder_refuses_a_start_outside_and_goes_on(start: int) -> None:
    builder = MessageBuilder(LEAST)
    builder.take(b"abc")
    with pytest.raises(ValueError, match=f"start {start} is not in a view of 3 bytes"):
        builder.take(b"def", start)
    assert builder.rest() == framed(b"abc")


@pytest.mark.parametrize("capacity", [-1, 0, LEAST - 1, MOST + 1, 1 << 40])
def test_builder_refuses_a_capacity_that_its_header_cannot_hold(capacity: int) -> None:
    with pytest.raises(ValueError, match=f"a message cannot hold {capacity} bytes"):
        MessageBuilder(capacity)


# ---- framing ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16383, 16384, 300_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_framing_is_that_of_protobuf(size: int, kind: Any) -> None:
    data = PATTERN[:size]
    assert encode(kind(data)) == framed(data)
    message = framed(data)
    view = decode(message)
    assert view == data
    assert view.obj is message


UNKNOWN = st.one_of(
    st.tuples(st.just(0), st.binary(max_size=8).map(lambda raw: bytes(b | 0x80 for b in raw) + b"\x01")),
    st.tuples(st.just(1), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just(2), st.binary(max_size=200).map(lambda raw: varint(len(raw)) + raw)),
    st.tuples(st.just(5), st.binary(min_size=4, max_size=4)),
)


def varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def other_field(number: int, kind_and_value: tuple[int, bytes]) -> bytes:
    kind, value = kind_and_value
    return varint(number << 3 | kind) + value


FIELDS = st.lists(
    st.builds(other_field, st.integers(2, (1 << 29) - 1), UNKNOWN)
    | st.binary(max_size=200).map(lambda raw: b"\x0a" + varint(len(raw)) + raw),
    max_size=6,
).map(b"".join)


@given(FIELDS)
def test_framing_passes_over_unknown_fields_and_takes_the_last_data(message: bytes) -> None:
    assert decode(message) == bytes_message().FromString(message).data


def test_framing_last_data_counts_even_if_it_is_empty() -> None:
    assert decode(b"\x0a\x01x\x0a\x00") == b""


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (b"\x0a", "a number without an end"),
        (b"\x0a\x80", "a number without an end"),
        (b"\x10", "a number without an end"),
        (b"\x80" * 10 + b"\x01", "a number without an end"),
        (b"\x10" + b"\xff" * 10 + b"\x01", "a number without an end"),
        (b"\x0a\x05abcd", "a field is longer"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01abc", "a field is longer"),
        (b"\x11" + bytes(7), "a field is longer"),
        (b"\x00\x01", "there is no field 0"),
        (b"\x02\x01x", "there is no field 0"),
        (b"\x08\x01", "data that is no bytes"),
        (b"\x09" + bytes(8), "data that is no bytes"),
        (b"\x0d" + bytes(4), "data that is no bytes"),
        (b"\x13\x14", "a field of type 3"),
        (b"\x14", "a field of type 4"),
        (b"\x16", "a field of type 6"),
        (b"\x17", "a field of type 7"),
        (b"\x8a\x80\x80\x80\x80\x01\x01x", "malformed message"),  # field 2^32 + 1, which cannot be
        (b"\x0a\x01x\x0a", "a number without an end"),
    ],
)
def test_framing_refuses_what_is_malformed(message: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decode(message)


@given(st.binary(max_size=60) | st.builds(lambda head, tail: head + tail, FIELDS, st.binary(max_size=12)))
def test_framing_of_anything_agrees_with_protobuf_or_is_a_value_error(message: bytes) -> None:
    try:
        expected = bytes_message().FromString(message).data
    except DecodeError:
        expected = None
    data, refused = None, ""
    try:
        data = decode(message)
    except ValueError as error:
        refused = str(error)
    # Stricter in two things: data of another type, which the original refuses too, and groups.
    strict = refused.endswith(("data that is no bytes", "a field of type 3"))
    assert expected is None or strict or data == expected


# ---- the control API ------------------------------------------------------------------


def numbers(message: Any) -> dict[int, Any]:
    """{field number: value} of a message as it travels, by a reader that knows no field."""
    blank = messages().InfoRequest.FromString(message.SerializeToString())
    return {field.field_number: field.data for field in UnknownFieldSet(blank)}


def test_control_solve_request_is_that_of_buildkit() -> None:
    types = messages()
    request = types.SolveRequest(
        Ref="ref",
        Definition=b"\xff\x00",
        ExporterDeprecated="tar",
        ExporterAttrsDeprecated={"a": "1"},
        Session="id",
        Frontend="tarcast",
        FrontendAttrs={"tree": "x"},
        Cache=types.CacheOptions(ExportRefDeprecated="e", ImportRefsDeprecated=["i"]),
        Exporters=[types.Exporter(Type="tar", Attrs={"k": "v"})],
    )
    assert numbers(request) == {
        1: b"ref",
        2: b"\xff\x00",
        3: b"tar",
        4: b"\x0a\x01a\x12\x011",
        5: b"id",
        6: b"tarcast",
        7: b"\x0a\x04tree\x12\x01x",
        8: b"\x0a\x01e\x12\x01i",
        13: b"\x0a\x03tar\x12\x06\x0a\x01k\x12\x01v",
    }


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("CacheOptions", {"Exports": [b"x"], "Imports": [b"y"]}, {4: b"x", 5: b"y"}),
        ("SolveResponse", {"ExporterResponse": {"k": "v"}}, {1: b"\x0a\x01k\x12\x01v"}),
        ("StatusRequest", {"Ref": "r"}, {1: b"r"}),
        ("Timestamp", {"seconds": 7, "nanos": 8}, {1: 7, 2: 8}),
        ("BuildkitVersion", {"package": "p", "version": "v", "revision": "r"}, {1: b"p", 2: b"v", 3: b"r"}),
    ],
)
def test_control_fields_have_their_numbers(name: str, fields: Any, expected: Any) -> None:
    assert numbers(getattr(messages(), name)(**fields)) == expected


def test_control_status_is_that_of_buildkit() -> None:
    types = messages()
    at = [types.Timestamp(seconds=number) for number in range(1, 4)]
    vertex = types.Vertex(digest="d", name="n", started=at[0], completed=at[1], error="e")
    assert numbers(vertex) == {1: b"d", 3: b"n", 5: b"\x08\x01", 6: b"\x08\x02", 7: b"e"}
    status = types.VertexStatus(
        ID="i", vertex="d", current=5, total=6, timestamp=at[0], started=at[1], completed=at[2]
    )
    whole = {1: b"i", 2: b"d", 4: 5, 5: 6, 6: b"\x08\x01", 7: b"\x08\x02", 8: b"\x08\x03"}
    assert numbers(status) == whole
    response = types.StatusResponse(vertexes=[vertex], statuses=[status])
    assert numbers(response) == {1: vertex.SerializeToString(), 2: status.SerializeToString()}


def test_control_messages_are_made_once_and_in_a_pool_of_their_own() -> None:
    assert messages() is messages()
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("tarcast.control.SolveRequest")
