"""``mmsa serve``: the server, from its socket to its end."""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mmsa_lightning.errors import UserError
from mmsa_lightning.inference.predictor import Predictor
from mmsa_lightning.inference.serve.app import create_app
from mmsa_lightning.inference.serve.limits import Limits


class Impatient(H11Protocol):
    """Also closes a connection that does not get so far as a whole request: uvicorn waits for its first one for ever,
    and for a later one from its first byte on.
    """

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        self.conn.receive_data(data)
        self.handle_events()

    def timeout_keep_alive_handler(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            super().timeout_keep_alive_handler()


def serve(predictor: Predictor, host: str, port: int, limits: Limits | None = None) -> None:
    """Serve a model until SIGTERM or SIGINT: then finish what has begun, and take nothing new.

    Args:
        predictor: with the model.
        host: name or address to listen on.
        port: to listen on; 0: any that is free.
        limits: bounds of what is taken.

    Raises:
        UserError: the place is taken, or is none of this machine's.
    """
    limits = limits or Limits()
    listening = _listen(host, port)
    address = listening.getsockname()
    loopback = ipaddress.ip_address(address[0]).is_loopback
    if not loopback:
        print(
            f"warning: whoever reaches {host} can use this server: it has neither passwords nor encryption",
            file=sys.stderr,
        )
    app = create_app(predictor, limits, draining=lambda: server.should_exit, any_host=not loopback)
    config = uvicorn.Config(
        app,
        http=Impatient,
        ws="none",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        server_header=False,
        headers=[("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")],
        limit_concurrency=limits.connections,
        timeout_keep_alive=limits.idle_s,
        timeout_graceful_shutdown=int(limits.body_s + limits.answer_s) + 1,
    )
    server = uvicorn.Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):  # which uvicorn raises again when it has stopped
        signal.signal(number, lambda *_: None)
    shown = f"[{address[0]}]" if ":" in address[0] else address[0]
    print(f"{predictor.about.name} on {predictor.about.dataset}: http://{shown}:{address[1]}", flush=True)
    server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        # With its protocol, without which asyncio leaves Nagle's algorithm on: 40 ms an answer.
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        if sys.platform != "win32":  # where it would share the port with another process
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot listen on {host}:{port} ({reason}); choose another --host or --port") from error
    return found
