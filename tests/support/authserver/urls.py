"""The toolkit's own views at Gitea's paths, and what Gitea has beside them."""

from __future__ import annotations

from django.contrib.auth.views import LoginView
from django.db import transaction
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.views import (
    AuthorizationView,
    DeviceConfirmView,
    DeviceGrantStatusView,
    DeviceUserCodeView,
    IntrospectTokenView,
    TokenView,
)

from tests.support.authserver import applications, counter, device, views

own = csrf_exempt(applications.applications)
# Without the transaction two refreshes at the same moment both succeed; Forgejo lets one through.
token = csrf_exempt(transaction.atomic(counter.counting(TokenView.as_view())))

# The device flow, which Gitea has not: at GitHub's paths. The toolkit looks for its own names.
device_pages = [
    path("login/device", DeviceUserCodeView.as_view(), name="device"),
    path("login/device/<client_id>/<user_code>", DeviceConfirmView.as_view(), name="device-confirm"),
    path("login/device/<client_id>/<user_code>/done", DeviceGrantStatusView.as_view(), name="device-grant-status"),
]

urlpatterns = [
    path("login/device/code", csrf_exempt(device.device_code), name="device code"),
    path("", include((device_pages, "oauth2_provider"))),
    path("login/oauth/authorize", AuthorizationView.as_view(), name="authorize"),
    path("login/oauth/access_token", token, name="token"),
    path("login/oauth/introspect", IntrospectTokenView.as_view(), name="introspect"),
    path("login/oauth/userinfo", views.userinfo, name="userinfo"),
    path(".well-known/openid-configuration", views.discovery, name="discovery"),
    path("api/v1/user", views.whoami, name="whoami"),
    path("api/v1/user/applications/oauth2", own, name="applications"),
    path("api/v1/user/applications/oauth2/<int:number>", own, name="application"),
    path("user/login", LoginView.as_view(template_name="login.html"), name="login"),
]
