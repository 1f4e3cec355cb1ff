"""As much of BuildKit's control API as an export takes: its methods and messages (api/services/control).

The messages are described here and made by protobuf when they are first asked for; a definition to build
stays the bytes that it is.
"""

from __future__ import annotations

import functools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import SimpleNamespace
    from typing import Any

SERVICE = "moby.buildkit.v1.Control"
GATEWAY = "moby.buildkit.v1.frontend.LLBBridge"
SESSION = f"/{SERVICE}/Session"
SOLVE = f"/{SERVICE}/Solve"

# The frontend of `tarcast serve`, and the option that names what it has.
FRONTEND = "tarcast"
TREE = "tree"

# message: {field: (number, type)}; "map" is of text to text, "*" behind a type means any number of them.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Timestamp": {"seconds": (1, "int64"), "nanos": (2, "int32")},
    "CacheOptions": {
        "ExportRefDeprecated": (1, "string"),
        "ImportRefsDeprecated": (2, "string*"),
        "Exports": (4, "bytes*"),
        "Imports": (5, "bytes*"),
    },
    "Exporter": {"Type": (1, "string"), "Attrs": (2, "map")},
    "SolveRequest": {
        "Ref": (1, "string"),
        "Definition": (2, "bytes"),
        "ExporterDeprecated": (3, "string"),
        "ExporterAttrsDeprecated": (4, "map"),
        "Session": (5, "string"),
        "Frontend": (6, "string"),
        "FrontendAttrs": (7, "map"),
        "Cache": (8, "CacheOptions"),
        "Exporters": (13, "Exporter*"),
    },
    "SolveResponse": {"ExporterResponse": (1, "map")},
    "StatusRequest": {"Ref": (1, "string")},
    "Vertex": {
        "digest": (1, "string"),
        "name": (3, "string"),
        "started": (5, "Timestamp"),
        "completed": (6, "Timestamp"),
        "error": (7, "string"),
    },
    "VertexStatus": {
        "ID": (1, "string"),
        "vertex": (2, "string"),
        "current": (4, "int64"),
        "total": (5, "int64"),
        "timestamp": (6, "Timestamp"),
        "started": (7, "Timestamp"),
        "completed": (8, "Timestamp"),
    },
    "StatusResponse": {"vertexes": (1, "Vertex*"), "statuses": (2, "VertexStatus*")},
    "InfoRequest": {},
    "BuildkitVersion": {"package": (1, "string"), "version": (2, "string"), "revision": (3, "string")},
    "InfoResponse": {"buildkitVersion": (1, "BuildkitVersion")},
    "ListWorkersRequest": {"filter": (1, "string*")},
    "WorkerRecord": {"ID": (1, "string"), "BuildkitVersion": (5, "BuildkitVersion")},
    "ListWorkersResponse": {"record": (1, "WorkerRecord*")},
    # Of the gateway API (frontend/gateway/pb).
    "PingRequest": {},
    "APICap": {"ID": (1, "string"), "Enabled": (2, "bool")},
    "PongResponse": {"FrontendAPICaps": (1, "APICap*")},
    "GatewaySolveRequest": {
        "Definition": (1, "bytes"),
        "Frontend": (2, "string"),
        "FrontendOpt": (3, "map"),
    },
    "GatewayRef": {"id": (1, "string")},
    "GatewayResult": {"refDeprecated": (1, "string"), "ref": (3, "GatewayRef")},
    "GatewaySolveResponse": {"result": (3, "GatewayResult")},
    "Status": {"code": (1, "int32"), "message": (2, "string")},
    "ReturnRequest": {"result": (1, "GatewayResult"), "error": (2, "Status")},
    "ReturnResponse": {},
}


@functools.cache
def messages() -> SimpleNamespace:
    """The classes of the messages, by their names."""
    from types import SimpleNamespace

    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    # A pool of its own: a program may have BuildKit's generated messages loaded too.
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(
        name="control.proto", package="tarcast.control", syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)
    pool.Add(file)
    found = {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}"))
        for name in _MESSAGES
    }
    return SimpleNamespace(**found)


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

    repeated = kind.endswith("*") or kind == "map"
    field = message.field.add(
        name=name, number=number, label=Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
    )
    kind = kind.rstrip("*")
    if kind == "map":
        # How protobuf has maps: a repeated message of key and value, named after the field.
        entry = message.nested_type.add(name=f"{name}Entry")
        entry.options.map_entry = True
        for part, (what, value_kind) in enumerate((("key", "string"), ("value", "string")), start=1):
            _add_field(entry, what, part, value_kind)
        field.type = Field.TYPE_MESSAGE
        field.type_name = f".tarcast.control.{message.name}.{entry.name}"
    elif kind in _MESSAGES:
        field.type = Field.TYPE_MESSAGE
        field.type_name = f".tarcast.control.{kind}"
    else:
        field.type = getattr(Field, f"TYPE_{kind.upper()}")
