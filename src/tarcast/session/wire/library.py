"""gRPC itself, which is an extra."""

from __future__ import annotations

from tarcast.errors import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def unary(function: Any, request: Any) -> Any:
    """A handler for a method that takes one message of class `request` and gives one of protobuf's."""
    return require_grpc().unary_unary_rpc_method_handler(
        function,
        request_deserializer=request.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )


def add_health(server: Any) -> None:
    """Have a server say that it lives."""
    from grpc_health.v1.health import HealthServicer
    from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

    add_HealthServicer_to_server(HealthServicer(), server)


def require_grpc() -> ModuleType:
    """The module `grpc`.

    Raises:
        OptionError: it, or one of its companions, is not installed.
    """
    try:
        import google.protobuf
        import grpc
        import grpc_health.v1.health  # noqa: F401 - so that what is missing is told at once
    except ImportError as error:
        raise OptionError(
            f"sessions over the wire need gRPC ({error})", hint="pip install 'tarcast[grpc]'"
        ) from error
    assert google.protobuf
    return grpc
