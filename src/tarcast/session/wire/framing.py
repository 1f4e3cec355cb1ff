"""`BytesMessage{bytes data = 1}` of BuildKit, by hand: protobuf's own way copies the data once more."""

from __future__ import annotations

_DATA = 0x0A  # field 1, length-delimited
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def encode(data: bytes | bytearray | memoryview) -> bytes:
    """The message that holds `data`."""
    if not data:
        return b""  # as proto3 writes an empty field
    return b"".join((bytes((_DATA,)), _varint(len(data)), data))


def decode(message: bytes) -> memoryview:
    """The data of a message, without copying it. Unknown fields are passed over, the last `data` counts.

    Raises:
        ValueError: it is no such message.
    """
    view = memoryview(message)
    data = view[:0]
    at = 0
    while at < len(view):
        key, at = _read_varint(view, at)
        kind = key & 7
        if key >> 3 == 0 or key >> 32:
            raise ValueError(f"malformed message: there is no field {key >> 3}")
        if kind == _LENGTH:
            size, at = _read_varint(view, at)
            end = at + size
            if key == _DATA:
                data = view[at:end]
        elif kind == _VARINT:
            _, end = _read_varint(view, at)
        elif kind in (_FIXED64, _FIXED32):
            end = at + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f"malformed message: a field of type {kind}")
        if key >> 3 == 1 and key != _DATA:
            raise ValueError("malformed message: data that is no bytes")
        if end > len(view):
            raise ValueError("malformed message: a field is longer than the message")
        at = end
    return data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            break
        byte = view[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("malformed message: a number without an end")
