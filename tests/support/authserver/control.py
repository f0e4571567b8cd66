"""What a test may ask of the server, over the process's stdin: see `Forge` for the meaning of each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, Grant, RefreshToken
from oauth2_provider.settings import oauth2_settings

from tests.support.authserver import counter, record
from tests.support.authserver.settings import long_token


def log() -> list[dict[str, Any]]:
    with record.lock:
        return list(record.events)


def secrets() -> dict[str, list[str]]:
    with record.lock:
        return dict(record.secrets)


def expire_access_tokens() -> int:
    return int(AccessToken.objects.update(expires=timezone.now() - timedelta(seconds=1)))


def revoke_all() -> None:
    Grant.objects.all().delete()
    RefreshToken.objects.filter(revoked=None).update(revoked=timezone.now(), access_token=None)
    AccessToken.objects.all().delete()


def set_lifetime(seconds: int) -> None:
    oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS = seconds


def rotate(on: bool) -> None:
    oauth2_settings.ROTATE_REFRESH_TOKEN = on


def count_grants(on: bool) -> None:
    counter.on = on


def own_applications(user: str) -> list[dict[str, Any]]:
    own = Application.objects.filter(user__username=user).order_by("pk")
    return [{"name": each.name, "client_id": each.client_id} for each in own]


def add_application(
    client_id: str, name: str, redirect_uris: str, secret: str, grant: str = Application.GRANT_AUTHORIZATION_CODE
) -> None:
    """With a `secret` the client is confidential, without one public. An application is for one way to a token."""
    Application.objects.create(
        client_id=client_id,
        name=name,
        redirect_uris=redirect_uris,
        client_type="confidential" if secret else "public",
        authorization_grant_type=grant,
        client_secret=secret,
        hash_client_secret=False,
    )


def remove_application(client_id: str) -> None:
    """Its tokens die with it."""
    Application.objects.get(client_id=client_id).delete()


def mint(user: str, client_id: str, lifetime: int) -> dict[str, Any]:
    """What the token endpoint would have answered."""
    owner = User.objects.get(username=user)
    application = Application.objects.get(client_id=client_id)
    access = AccessToken.objects.create(
        user=owner,
        application=application,
        token=long_token(),
        scope="all",
        expires=timezone.now() + timedelta(seconds=lifetime),
    )
    refresh = RefreshToken.objects.create(user=owner, application=application, token=long_token(), access_token=access)
    record.keep("access_token", access.token)
    record.keep("refresh_token", refresh.token)
    return {
        "access_token": access.token,
        "token_type": "Bearer",
        "expires_in": lifetime,
        "refresh_token": refresh.token,
    }


def reset(applications: list[dict[str, str]], lifetime: int) -> None:
    """As on the first day: users and these applications, nobody signed in, nothing recorded."""
    Application.objects.all().delete()
    Session.objects.all().delete()
    for application in applications:
        add_application(**application)
    set_lifetime(lifetime)
    rotate(on=True)
    count_grants(on=False)
    record.clear()


def start(users: dict[str, str], applications: list[dict[str, str]], lifetime: int) -> None:
    for name, password in users.items():
        User.objects.create_user(name, f"{name}@example.org", password)
    reset(applications, lifetime)
