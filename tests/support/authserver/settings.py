"""Django's settings for the authorization server: small, quick to start, safe for parallel requests."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
APPS = ("auth", "contenttypes", "sessions", "oauth2_provider")
SCOPES = ("all", "introspection", "read:user", "write:user", "read:repository", "write:repository")


def configuration(database: str) -> dict[str, Any]:
    tag = secrets.token_hex(4)  # browsers do not tell ports apart when they file cookies
    return {
        "SECRET_KEY": secrets.token_hex(),
        "ALLOWED_HOSTS": ["*"],
        "ROOT_URLCONF": "tests.support.authserver.urls",
        "INSTALLED_APPS": [
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "oauth2_provider",
        ],
        "MIDDLEWARE": [
            "tests.support.authserver.record.recording",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [HERE / "templates"],
                "APP_DIRS": True,
            }
        ],
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": database,
                "OPTIONS": {
                    "timeout": 30,
                    "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
                },
            }
        },
        "MIGRATION_MODULES": dict.fromkeys(APPS),  # tables straight from the models: 1 s less
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
        "USE_TZ": True,
        "LOGIN_URL": "login",
        "LOGIN_REDIRECT_URL": "/",
        "SESSION_COOKIE_NAME": f"session_{tag}",
        "CSRF_COOKIE_NAME": f"csrf_{tag}",
        "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
        "OAUTH2_PROVIDER": {
            "SCOPES": dict.fromkeys(SCOPES, "as it says"),
            "DEFAULT_SCOPES": ["all"],  # for clients that name none, as Gitea's and Forgejo's do
            "PKCE_REQUIRED": True,
            "ROTATE_REFRESH_TOKEN": True,
            "DEVICE_FLOW_INTERVAL": 1,
            "OAUTH_DEVICE_VERIFICATION_URI": "see `device.device_code`",
            "OAUTH2_VALIDATOR_CLASS": "tests.support.authserver.device.Validator",
            "REQUEST_APPROVAL_PROMPT": "force",
            "ACCESS_TOKEN_GENERATOR": "tests.support.authserver.settings.long_token",
            "REFRESH_TOKEN_GENERATOR": "tests.support.authserver.settings.long_token",
            "ALWAYS_RELOAD_OAUTHLIB_CORE": True,  # so that a new lifetime counts at once
        },
    }


def long_token(_request: object = None) -> str:
    """As long as Gitea's, 858 characters, with a JWT's two dots."""
    return ".".join(
        base64.urlsafe_b64encode(secrets.token_bytes(length)).rstrip(b"=").decode() for length in (55, 74, 512)
    )
