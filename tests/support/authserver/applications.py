"""Gitea's and Forgejo's `api/v1/user/applications/oauth2`: a person's own applications, as a call lists, makes and
deletes them. The shape of the answers is theirs (`tests/recorded`), and so is what a narrowed token may not do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.http import HttpResponse, JsonResponse
from oauth2_provider.models import Application
from oauth2_provider.oauth2_backends import get_oauthlib_core

if TYPE_CHECKING:
    from django.http import HttpRequest

MAY = {"GET": ("read:user", "write:user"), "POST": ("write:user",), "DELETE": ("write:user",)}


def applications(request: HttpRequest, number: int | None = None) -> HttpResponse:
    valid, checked = get_oauthlib_core().verify_request(request, scopes=[])
    if not valid:
        return JsonResponse({"message": "token is required"}, status=401)
    request.user = checked.user  # for the record
    granted = checked.access_token.scope.split()
    needed = MAY[request.method or ""]
    if "all" not in granted and not set(granted) & set(needed):
        said = (
            "token does not have at least one of required scope(s), "
            f"required=[{needed[-1]}], token scope={','.join(granted)}"
        )
        return JsonResponse({"message": said, "url": request.build_absolute_uri("/api/swagger")}, status=403)
    if request.method == "DELETE":
        deleted, _ = Application.objects.filter(user=checked.user, pk=number).delete()
        return HttpResponse(status=204) if deleted else JsonResponse({"errors": None}, status=404)
    if request.method == "POST":
        return JsonResponse(_create(checked.user, json.loads(request.body)), status=201)
    page, limit = (int(request.GET.get(name, default)) for name, default in (("page", 1), ("limit", 30)))
    own = Application.objects.filter(user=checked.user).order_by("-pk")[(page - 1) * limit : page * limit]
    return JsonResponse([_shown(each) for each in own], safe=False)


def _create(owner: Any, wanted: dict[str, Any]) -> dict[str, object]:
    """A secret comes back for a public client too, this once."""
    uris = [uri + slash for uri in wanted["redirect_uris"] for slash in ("", "/")]  # the toolkit minds a final slash
    made = Application.objects.create(
        user=owner,
        client_id=str(uuid4()),
        name=wanted["name"],
        redirect_uris=" ".join(uris),
        client_type="confidential" if wanted["confidential_client"] else "public",
        authorization_grant_type="authorization-code",
    )
    return {**_shown(made), "client_secret": "gto_of_no_use"}


def _shown(application: Any) -> dict[str, object]:
    return {
        "id": application.pk,
        "name": application.name,
        "client_id": application.client_id,
        "client_secret": "",
        "confidential_client": application.client_type == "confidential",
        "skip_secondary_authorization": False,
        "redirect_uris": [uri for uri in application.redirect_uris.split() if not uri.endswith("/")],
        "created": application.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
