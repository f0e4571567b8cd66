"""The toolkit's device flow (RFC 8628) at GitHub's paths, and what the toolkit 3.4 does not know of oauthlib 4."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.http import JsonResponse
from django.urls import get_script_prefix
from oauth2_provider.models import DeviceCodeResponse, DeviceGrant
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.views import device
from oauthlib.oauth2.rfc8628.grant_types import DeviceCodeGrant

from tests.support.authserver import record

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class Validator(OAuth2Validator):  # type: ignore[misc]
    def validate_device_code(self, client_id: str, code: str, request: Any, *_: Any, **__: Any) -> Any:
        """The page has written the person's decision down; the toolkit's view has looked at all but who it is for."""
        found = DeviceGrant.objects.filter(client_id=client_id, device_code=code, status=DeviceGrant.AUTHORIZED).first()
        if found is None:
            return None
        request.user, request.scopes = found.user, found.scope.split()
        return DeviceCodeGrant.DEVICE_CODE_AUTHORIZED


def _without_scope(scope: str = "", **fields: Any) -> Any:  # noqa: ARG001
    return DeviceCodeResponse(**fields)


device.DeviceCodeResponse = _without_scope


def device_code(request: HttpRequest) -> HttpResponse:
    """The toolkit's, which cannot know where people reach it."""
    answer = device.DeviceAuthorizationView.as_view()(request)
    fields = json.loads(answer.content)
    if "device_code" in fields:
        fields["verification_uri"] = request.build_absolute_uri(get_script_prefix() + "login/device")
        record.keep("device_code", fields["device_code"])
    return JsonResponse(fields, status=answer.status_code)
