"""The API as a process: uvicorn, with the deadlines and header limits that it does not have by itself."""

import asyncio
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service import connections, logs
from service.api.app import SPARE_CONNECTIONS, create_app
from service.api.gate import Context
from service.settings import Limits, Settings

HEAD_BYTES = 64 << 10  # of a request line and headers, before the application sees them and says 431
HEAD_S = 10.0
KEEP_ALIVE_S = 75
SHUTDOWN_S = 5


class BoundedProtocol(HttpToolsProtocol):
    """Ends connections whose request head is too long or does not arrive in time (slowloris)."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_bytes = 0
        self._in_head = True
        self._deadline: asyncio.TimerHandle | None = self.loop.call_later(HEAD_S, self._end)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            self._await_head()
        super().data_received(data)
        # Counted in what came before the head was complete; a body that came along was within the last piece.
        if self._in_head and self._head_bytes > HEAD_BYTES:
            self._end()

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self._cancel_deadline()
        super().on_headers_complete()

    def _await_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_S, self._end)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()


def config(app: FastAPI, **place: Any) -> uvicorn.Config:
    """How the application is served, wherever: on a port of the settings, or on a socket of a test's."""
    context: Context = app.state.context
    return uvicorn.Config(
        app,
        root_path=context.settings.root_path,
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
        **place,
    )


def run(settings: Settings, limits: Limits, *, listening: socket.socket | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C, on a socket that is open already or on the settings' port.

    Open requests get a few seconds to end.
    """
    logs.configure(settings.log_level)
    engine = connections.engine(settings, "api", pool_size=settings.api_threads + SPARE_CONNECTIONS)
    objects = connections.objects(settings)
    objects.sweep()
    app = create_app(settings, engine, objects, limits=limits)
    server = uvicorn.Server(config(app, host=settings.api_host, port=settings.api_port))
    server.run(None if listening is None else [listening])
