"""BuildKit's gateway API, as far as a client needs it that has its own say in what a request exports.

buildctl is one: its request names no frontend, it asks the gateway for what it wants, and hands that back
as the result (client/build.go, frontend/gateway/grpcclient).
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from tarcast.errors import Cancelled, OptionError
from tarcast.session.wire.control import GATEWAY, TREE, messages
from tarcast.session.wire.library import require_grpc, unary

from .failures import public_text, status_of
from .requests import MOST_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import grpc

    from tarcast.write import Cancel

_BUILD_ID = "buildkit-controlapi-buildid"

# What a client may rely on: that a result is handed back, by the name of a tree.
_CAPABILITIES = ("solve.base", "return")

# How many requests may be in the hands of their clients at once.
_MOST = 1024

_LOOK_EVERY = 0.05


class _Build:
    """One request: what its client asked for, and what it made of that."""

    def __init__(self) -> None:
        self.asked: dict[str, dict[str, str]] = {}
        self.result: dict[str, str] | None = None
        self.error = ""
        self.awaited = False


class Gateway:
    """The results that clients put together themselves.

    Args:
        check: raises OptionError unless a frontend, a definition and options can be asked for.
    """

    def __init__(self, check: Callable[[str, bytes, dict[str, str]], None]) -> None:
        self._check = check
        self._builds: OrderedDict[str, _Build] = OrderedDict()
        self._changed = threading.Condition()

    def handler(self) -> Any:
        """For a server."""
        grpc = require_grpc()
        types = messages()

        methods = {
            "Ping": unary(self._ping, types.PingRequest),
            "Solve": unary(self._solve, types.GatewaySolveRequest),
            "Return": unary(self._return, types.ReturnRequest),
        }
        return grpc.method_handlers_generic_handler(GATEWAY, methods)

    def result(self, ref: str, cancel: Cancel) -> dict[str, str]:
        """The options that the client of this request settles on, waiting for it.

        Raises:
            OptionError: it says that it failed.
            Cancelled: `cancel` was set.
        """
        with self._changed:
            build = self._build(ref)
            build.awaited = True
            try:
                while build.result is None and not build.error:
                    if cancel.is_set():
                        raise Cancelled("the request was cancelled")
                    self._changed.wait(_LOOK_EVERY)
            finally:
                self._builds.pop(ref, None)
        if build.result is None:
            raise OptionError(f"the client gave up: {build.error}")
        return build.result

    def _build(self, ref: str) -> _Build:
        # The request, and what its client asks the gateway, come in any order.
        if ref not in self._builds:
            self._builds[ref] = _Build()
            if len(self._builds) > _MOST:  # then the oldest one goes that nobody waits for
                oldest = next((key for key, build in self._builds.items() if not build.awaited), ref)
                if oldest != ref:
                    del self._builds[oldest]
        return self._builds[ref]

    def _ping(self, request: Any, context: grpc.ServicerContext) -> Any:
        types = messages()
        return types.PongResponse(
            FrontendAPICaps=[types.APICap(ID=name, Enabled=True) for name in _CAPABILITIES]
        )

    def _solve(self, request: Any, context: grpc.ServicerContext) -> Any:
        types = messages()
        options = dict(request.FrontendOpt)
        try:
            self._check(request.Frontend, request.Definition, options)
        except OptionError as error:
            context.abort(status_of(error), public_text(error, "", None))
        with self._changed:
            self._build(_id(context)).asked[options[TREE]] = options
        return types.GatewaySolveResponse(result=types.GatewayResult(refDeprecated=options[TREE]))

    def _return(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._changed:
            build = self._build(_id(context))
            name = request.result.refDeprecated or request.result.ref.id
            if request.error.code:
                build.error = request.error.message or "it does not say why"
            elif name in build.asked:
                build.result = build.asked[name]
            else:
                build.error = f"its result {name!r} is nothing that it asked for"
            self._changed.notify_all()
        return messages().ReturnResponse()


def _id(context: grpc.ServicerContext) -> str:
    for key, value in context.invocation_metadata():
        if key == _BUILD_ID and len(value) <= MOST_NAME:
            return str(value)
    context.abort(require_grpc().StatusCode.INVALID_ARGUMENT, "the call does not say which request it is for")
    raise AssertionError("abort raises")
