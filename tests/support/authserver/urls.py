"""The toolkit's own views at Gitea's paths, and what Gitea has beside them."""

from __future__ import annotations

from django.contrib.auth.views import LoginView
from django.db import transaction
from django.urls import path
from oauth2_provider.views import AuthorizationView, IntrospectTokenView, TokenView

from tests.support.authserver import views

# Without the transaction two refreshes at the same moment both succeed; Forgejo lets one through.
token = transaction.atomic(TokenView.as_view())

urlpatterns = [
    path("login/oauth/authorize", AuthorizationView.as_view(), name="authorize"),
    path("login/oauth/access_token", token, name="token"),
    path("login/oauth/introspect", IntrospectTokenView.as_view(), name="introspect"),
    path("login/oauth/userinfo", views.userinfo, name="userinfo"),
    path(".well-known/openid-configuration", views.discovery, name="discovery"),
    path("api/v1/user", views.whoami, name="whoami"),
    path("user/login", LoginView.as_view(template_name="login.html"), name="login"),
]
