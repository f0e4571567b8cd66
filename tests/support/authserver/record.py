"""What happened at the server, in order, and every secret that left it."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

lock = threading.Lock()
events: list[dict[str, Any]] = []
secrets: dict[str, list[str]] = {}


def clear() -> None:
    with lock:
        events.clear()
        secrets.clear()


def keep(kind: str, value: str) -> None:
    with lock:
        known = secrets.setdefault(kind, [])
        if value not in known:
            known.append(value)


def recording(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: one event for each request, written down when its answer is ready."""

    def middleware(request: HttpRequest) -> HttpResponse:
        parameters = {name: request.POST[name] for name in request.POST} or dict(request.GET.items())
        response = get_response(request)
        route = request.resolver_match.url_name if request.resolver_match else "other"
        _note(route, request, response, parameters)
        return response

    return middleware


def _note(route: str, request: HttpRequest, response: HttpResponse, parameters: dict[str, str]) -> None:
    what, ok, error = route, response.status_code < 400, ""
    sent_to = parse_qs(urlsplit(response.headers.get("Location", "")).query)
    if route == "authorize":
        what = "consent" if request.method == "POST" else "authorize"
        error = sent_to.get("error", [""])[0]
        ok = ok and not error
    elif route == "login":
        what = "login" if request.method == "POST" else "login page"
        ok = request.method == "GET" or response.status_code == 302
    elif route == "token":
        what = {"authorization_code": "exchange", "refresh_token": "refresh"}.get(
            parameters.get("grant_type", ""), "token"
        )
        error = _keep_tokens(response)
    if what == "consent" and "code" in sent_to:
        keep("code", sent_to["code"][0])
    for kind in {"code_verifier", "state"} & set(parameters):
        keep(kind, parameters[kind])
    user = getattr(request, "user", None)
    with lock:
        events.append(
            {
                "what": what,
                "ok": ok,
                "status": response.status_code,
                "error": error,
                "path": request.path,
                "user": user.get_username() if user is not None else "",
                "parameters": parameters,
            }
        )


def _keep_tokens(response: HttpResponse) -> str:
    """The error that the answer of the token endpoint names, if any."""
    try:
        answer = json.loads(response.content)
    except ValueError:
        return "no JSON"
    for kind in {"access_token", "refresh_token"} & set(answer):
        keep(kind, answer[kind])
    return str(answer.get("error", ""))
