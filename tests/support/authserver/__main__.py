"""django-oauth-toolkit as a process of its own; `tests.support.child` tells how it is spoken to."""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler
from importlib import import_module
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

from tests.support.authserver.settings import configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        """Without the name look-up of `HTTPServer`."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]
        self.setup_environ()


class Handler(WSGIRequestHandler):
    def address_string(self) -> str:
        return str(self.client_address[0])

    log_message = BaseHTTPRequestHandler.log_message


def below_prefix(application: WSGIApplication) -> WSGIApplication:
    """The proxy in front takes the sub-path away and names it in X-Forwarded-Prefix."""

    def prefixed(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["SCRIPT_NAME"] = environ.get("HTTP_X_FORWARDED_PREFIX", "")
        return application(environ, start_response)

    return prefixed


def serve(database: str) -> int:
    """The port on which it listens."""
    settings.configure(**configuration(database))
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    import_module(settings.ROOT_URLCONF)  # now, so that a mistake in it shows before the first request
    server = Server(("127.0.0.1", 0), Handler)
    server.set_app(below_prefix(get_wsgi_application()))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any]
        try:
            answer = {"result": run(request["name"], request["arguments"])}
        except Exception as error:  # noqa: BLE001 - whatever it is, the test is told
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"number": request["number"], **answer}), file=answers, flush=True)


def run(name: str, arguments: dict[str, Any]) -> Any:
    port = serve(arguments.pop("database")) if name == "start" else None
    from tests.support.authserver import control

    call: Callable[..., Any] = getattr(control, name)
    result = call(**arguments)
    return port if name == "start" else result


if __name__ == "__main__":
    main()
