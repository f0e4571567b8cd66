"""A threaded HTTP/1.1 server on 127.0.0.1, with TLS or without, around one function: request to answer."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from email.message import Message

OURS = {"connection", "content-length", "date", "server", "transfer-encoding"}


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Message
    body: bytes

    def header(self, name: str) -> str:
        """Its value, empty where there is none."""
        return str(self.headers.get(name, ""))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class HttpServer(ThreadingMixIn, TCPServer):
    """Listens from the start; answers until `stop`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer: Callable[[Request], Answer], context: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self._context = context
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, args=[0.05], daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread, so that a slow handshake holds nobody up."""
        request.settimeout(60)
        self._open.add(request)
        try:
            if self._context is None:
                super().finish_request(request, client_address)
                return
            with self._context.wrap_socket(request, server_side=True) as wrapped:
                self._open.add(wrapped)
                try:
                    super().finish_request(wrapped, client_address)
                finally:
                    self._open.discard(wrapped)
        finally:
            self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up or do not trust us are none of our errors."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the body waits up to 40 ms until the head has been acknowledged
    server: HttpServer

    def handle_any(self) -> None:
        answer = self.server.answer(Request(self.command, self.path, self.headers, self._body()))
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            if name.lower() not in OURS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def __getattr__(self, name: str) -> Any:
        """Every method has the same handler; `do_GET` and so on is what the base class looks for."""
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self._whole(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self._whole_line().split(b";")[0], 16):
            chunks.append(self._whole(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _whole_line(self) -> bytes:
        line = self.rfile.readline()
        if not line.endswith(b"\n"):
            raise ConnectionAbortedError
        return line

    def _whole(self, size: int) -> bytes:
        """A client that ends in the middle of what it sends has asked for nothing."""
        read = self.rfile.read(size)
        if len(read) < size:
            raise ConnectionAbortedError
        return read

    def log_message(self, *_: Any) -> None:
        """Silent: who answers keeps the record."""
