"""Forgejo's rotation: one counter for each user and application, kept in the grant. Every token response increments it,
and a refresh token is good while it has the counter's number; so a sign-in elsewhere ends it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from django.http import JsonResponse
from django.utils import timezone
from oauth2_provider.models import RefreshToken

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

on = False


def counting(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """The token endpoint, with that counter where it is switched on."""

    def counted(request: HttpRequest) -> HttpResponse:
        if not on:
            return view(request)
        if request.POST.get("grant_type") == "refresh_token":
            sent = _find(request.POST.get("refresh_token", ""))
            if sent and sent.revoked:
                said = {"error": "unauthorized_client", "error_description": "token was already used"}
                return JsonResponse(said, status=400)
        response = view(request)
        if response.status_code == 200:
            new = _find(json.loads(response.content)["refresh_token"])
            assert new is not None
            others = RefreshToken.objects.filter(user=new.user, application=new.application, revoked=None)
            others.exclude(pk=new.pk).update(revoked=timezone.now())
        return response

    return counted


def _find(token: str) -> RefreshToken | None:
    digest = hashlib.sha256(token.encode()).hexdigest()
    found: RefreshToken | None = RefreshToken.objects.filter(token_checksum=digest).order_by("-pk").first()
    return found
