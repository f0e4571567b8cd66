"""What Gitea serves and the toolkit does not, with the toolkit's own check of the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import JsonResponse
from django.urls import get_script_prefix
from oauth2_provider.oauth2_backends import get_oauthlib_core

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def discovery(request: HttpRequest) -> HttpResponse:
    base = request.build_absolute_uri(get_script_prefix())
    oauth = base + "login/oauth/"
    return JsonResponse(
        {
            "issuer": base.rstrip("/"),
            "authorization_endpoint": oauth + "authorize",
            "token_endpoint": oauth + "access_token",
            "jwks_uri": oauth + "keys",
            "userinfo_endpoint": oauth + "userinfo",
            "introspection_endpoint": oauth + "introspect",
            "response_types_supported": ["code", "id_token"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "subject_types_supported": ["public"],
            "scopes_supported": ["openid", "profile", "email", "groups"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
        }
    )


def whoami(request: HttpRequest) -> HttpResponse:
    """Gitea's `api/v1/user`; 401 for a token that is not alive."""
    user = _owner(request)
    if user is None:
        return JsonResponse({"message": "user does not exist [uid: 0, name: ]"}, status=401)
    return JsonResponse({"id": user.pk, "login": user.get_username(), "email": user.email})


def userinfo(request: HttpRequest) -> HttpResponse:
    user = _owner(request)
    if user is None:
        return JsonResponse({}, status=401, headers={"WWW-Authenticate": 'Bearer realm=""'})
    return JsonResponse({"sub": str(user.pk), "preferred_username": user.get_username()})


def _owner(request: HttpRequest) -> Any:
    valid, checked = get_oauthlib_core().verify_request(request, scopes=[])
    if not valid:
        return None
    request.user = checked.user  # for the record
    return checked.user
