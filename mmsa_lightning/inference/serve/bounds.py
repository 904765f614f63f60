"""What keeps a request within its bounds while its body comes in, and refuses it when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmsa_lightning.inference.serve.limits import Limits

CLOSE = {"Connection": "close"}  # nobody reads what is left of a body
LATER = {"Retry-After": "1"}
CLIP = "/v1/clip"  # whose bodies are videos


class Bounded:
    """An ASGI application whose requests have bodies of a bounded size that come in a bounded time.

    A body is refused as soon as it is too long: at its first byte if it says so itself.

    Args:
        app: the application.
        limits: of which ``body``, ``clip`` and ``body_s``.
        draining: whether the server stops: then whatever has not begun is refused, but for its health.
    """

    def __init__(self, app: ASGIApp, limits: Limits, draining: Callable[[], bool]) -> None:
        self.app = app
        self.limits = limits
        self.draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.draining() and scope["path"] != "/health":
            refused = JSONResponse({"error": "the server is stopping"}, 503, headers=CLOSE | LATER)
            await refused(scope, receive, send)
            return
        most = self.limits.clip if scope["path"] == CLIP else self.limits.body
        left = most
        declared = int(Headers(scope=scope).get("content-length", 0))  # which the server has read as a number
        deadline: float | None = asyncio.get_running_loop().time() + self.limits.body_s

        async def bounded() -> Message:
            nonlocal left, deadline
            if declared > most:
                raise _too_long(most)
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the body was not there after {self.limits.body_s:g} s", CLOSE) from None
            left -= len(message.get("body", b""))
            if left < 0:
                raise _too_long(most)
            if not message.get("more_body"):
                deadline = None
            return message

        await self.app(scope, bounded, send)


def _too_long(most: int) -> HTTPException:
    return HTTPException(413, f"the body has more than {most} bytes; send less at once", CLOSE)
