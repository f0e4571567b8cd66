"""The kinds of forge, as data: one record each. Adding a forge is adding a record."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """What is the same at every forge of a kind. Addresses are relative to the forge's base, or whole where the forge
    has them elsewhere; `{host}` in one stands for the host that is signed in to."""

    key: str
    name: str
    authorize: str
    token: str
    device: str | None = None  # where a device code comes from (RFC 8628)
    revoke: str | None = None  # where a token is ended (RFC 7009)
    hosts: tuple[str, ...] = ()  # exactly these, and all below one that begins with a dot; look-alikes are nobody
    realms: tuple[str, ...] = ()  # of the Basic challenge, exactly
    marks: tuple[str, ...] = ()  # scopes of this kind alone: one of them tells it where its endpoints' paths do not
    vague_realms: tuple[str, ...] = ()  # which say no more than that it may be one
    client_id: str | None = None  # one that the forge itself registers for programs like this
    shown_as: str = ""  # what the consent page then calls the program
    scopes: str = ""
    extra: tuple[tuple[str, str], ...] = ()  # what else it wants in an authorization request
    redirect: str = "http://127.0.0.1"  # to which the port is added
    hint: str | None = None  # the parameter of an authorization request that names an account
    username: str | None = None  # the one name that git may send beside a token; None: the account's
    bearer: bool = False  # git may send its tokens by Bearer, where somebody wants that; Basic always works
    whoami: str | None = None
    whoami_fields: tuple[str, ...] = ("login",)
    whoami_scopes: tuple[str, ...] = ()  # one of these is needed to ask; none: any token will do
    says_401_for_tokens_only: bool = False  # and never for a repository that one may not see
    applications: str | None = None  # the page where a person sees and ends what they granted
    registration: str | None = None  # the page where a person registers an application
    form: tuple[tuple[str, str], ...] = (  # what to enter there, by its own words
        ("name", "{name}"),
        ("redirect address", "{redirect}"),
        ("kind", "public, also called native; or confidential, with a secret"),
        ("scopes", "{scopes}"),
    )
    needs_secret: bool = False  # its applications have one, and the browser's way needs it
    registers_itself: bool = True  # where its metadata says that programs may register (RFC 7591), that is of use
    registers_at_sign_in: bool = False  # … and each machine does when it first signs in
    by_metadata: bool = False  # its metadata tells it, by its token endpoint's path, and what its versions differ in
    wants_resource: bool = False  # its tokens are asked for by the resource that it says it is (RFC 8707, RFC 9728)
    deletes_tokens: bool = False  # DELETE at its token endpoint ends those that a person has by a client
    refresh_at: float = 1.0  # the part of a token's life after which it is renewed, if not at its end
    own_applications: str | None = None  # where a person's applications are listed, made and deleted by a call
    own_scopes: str = ""  # what an application of a person's own asks for
    elsewhere: tuple[str, ...] = ()  # its words for a refresh token that a sign-in on another machine has ended


# Gitea registers these on every instance at start-up (models/auth/oauth2.go, BuiltinApplications), and Forgejo
# kept it. Both call themselves "Gitea" in the challenge, and answer alike: reference forges.md, 1, 2 and 12.
# The scope stays empty: another one than the first for this client ends in "a grant exists with different scope".
FORGEJO = Kind(
    key="forgejo",
    name="Forgejo or Gitea",
    authorize="login/oauth/authorize",
    token="login/oauth/access_token",  # noqa: S106 # an address
    hosts=("codeberg.org", "gitea.com", "code.forgejo.org"),
    realms=("Gitea", "Forgejo"),
    vague_realms=("gitea-lfs",),  # of large files, and also where OAuth is switched off
    client_id="a4792ccc-144e-407e-86c9-5e7d8d9c3269",
    shown_as="git-credential-oauth",
    bearer=True,
    whoami="api/v1/user",
    says_401_for_tokens_only=True,
    applications="user/settings/applications",
    registration="user/settings/applications",
    form=(("Application Name", "{name}"), ("Redirect URIs", "{redirect}"), ("Confidential Client", "no")),
    own_applications="api/v1/user/applications/oauth2",
    own_scopes="write:repository read:user",
    elsewhere=("token was already used", "cannot increase the grant counter"),
)

# A token for git alone may not be asked who it is, and a 401 says nothing about it (forges.md, 5.4 and 5.5). Who
# registers by a call gets the scope `mcp` and no other (5.1).
GITLAB = Kind(
    key="gitlab",
    name="GitLab",
    authorize="oauth/authorize",
    token="oauth/token",  # noqa: S106
    device="oauth/authorize_device",
    revoke="oauth/revoke",
    hosts=("gitlab.com",),
    realms=("GitLab",),
    marks=("read_repository", "write_repository"),
    scopes="read_repository write_repository",
    username="oauth2",
    whoami="api/v4/user",
    whoami_fields=("username",),
    whoami_scopes=("read_user", "read_api", "api"),
    applications="-/user_settings/applications",
    registration="-/user_settings/applications",
    form=(("Name", "{name}"), ("Redirect URI", "{redirect}"), ("Confidential", "no"), ("Scopes", "{scopes}")),
    registers_itself=False,
)

# No public clients: the browser's way needs the application's secret, the device flow does not (forges.md, 6).
_GITHUB = Kind(
    key="",
    name="GitHub",
    authorize="login/oauth/authorize",
    token="login/oauth/access_token",  # noqa: S106
    device="login/device/code",
    scopes="repo gist workflow",
    hint="login",
    says_401_for_tokens_only=True,
    applications="settings/applications",
    registration="settings/applications/new",
    form=(
        ("Application name", "{name}"),
        ("Homepage URL", "{redirect}"),
        ("Authorization callback URL", "{redirect}"),
        ("Enable Device Flow", "yes: it signs you in where no browser is, and without the secret"),
    ),
    needs_secret=True,
)
GITHUB_COM = _GITHUB._replace(
    key="github.com",
    hosts=("github.com", "gist.github.com"),
    authorize="https://github.com/login/oauth/authorize",
    token="https://github.com/login/oauth/access_token",  # noqa: S106
    device="https://github.com/login/device/code",
    whoami="https://api.github.com/user",
    applications="https://github.com/settings/applications",
    registration="https://github.com/settings/applications/new",
)
GHE_COM = _GITHUB._replace(key="ghe.com", hosts=(".ghe.com",), whoami="https://api.{host}/user")
GITHUB = _GITHUB._replace(key="github", name="GitHub Enterprise", realms=("GitHub",), whoami="api/v3/user")

BITBUCKET = Kind(
    key="bitbucket",
    name="Bitbucket",
    authorize="site/oauth2/authorize",
    token="site/oauth2/access_token",  # noqa: S106
    hosts=("bitbucket.org",),
    scopes="repository repository:write",
    bearer=True,
    username="x-token-auth",
    whoami="https://api.bitbucket.org/2.0/user",
    whoami_fields=("username", "nickname"),
    whoami_scopes=("account",),
    applications="account/settings/app-authorizations/",
    registration="account/workspaces/",
    form=(
        ("where", "the workspace, Settings, OAuth consumers, Add consumer"),
        ("Name", "{name}"),
        ("Callback URL", "{redirect}"),
        ("Permissions", "Repositories: Read and Write"),
    ),
    needs_secret=True,
)
BITBUCKET_DC = Kind(
    key="bitbucket-dc",
    name="Bitbucket Data Center",
    authorize="rest/oauth2/latest/authorize",
    token="rest/oauth2/latest/token",  # noqa: S106
    realms=("Atlassian Bitbucket",),
    scopes="PUBLIC_REPOS REPO_READ REPO_WRITE",
    redirect="http://localhost:34106/",
    username="x-token-auth",
    registration="plugins/servlet/applinks/listApplicationLinks",
    form=(
        ("where", "Create link, External application, Incoming; an administrator has to do it"),
        ("Name", "{name}"),
        ("Redirect URL", "{redirect}"),
        ("Application permissions", "Repositories: Read and Write"),
    ),
    needs_secret=True,
)

# A refresh token comes with the first consent only, unless it is asked for.
GOOGLESOURCE = Kind(
    key="googlesource",
    name="Google's Gerrit",
    authorize="https://accounts.google.com/o/oauth2/v2/auth",
    token="https://oauth2.googleapis.com/token",  # noqa: S106
    revoke="https://oauth2.googleapis.com/revoke",
    hosts=(".googlesource.com",),
    scopes="https://www.googleapis.com/auth/gerritcodereview",
    extra=(("access_type", "offline"), ("prompt", "consent")),
    bearer=True,
    hint="login_hint",
    applications="https://myaccount.google.com/connections",
    registration="https://console.cloud.google.com/apis/credentials",
    form=(("where", "Create credentials, OAuth client ID"), ("Application type", "Desktop app"), ("Name", "{name}")),
    needs_secret=True,
)

# Where programs may register, each machine does: a sign-in ends what the same client had from the same person before
# (forges.md, 3.4). The server of 2025 refuses what it does not know in an authorization request, compares the redirect
# address with its port, and gives a refresh token no longer life than the access token beside it.
CODER = Kind(
    key="coder",
    name="Coder",
    authorize="oauth2/authorize",
    token="oauth2/tokens",  # noqa: S106
    redirect="http://127.0.0.1:34106/",
    whoami="api/v2/users/me",
    whoami_fields=("username",),
    says_401_for_tokens_only=True,
    registration="deployment/oauth2-provider/apps",
    form=(
        ("where", "Add application; an owner of the deployment has to do it"),
        ("Application name", "{name}"),
        ("Callback URL", "{redirect}"),
        ("Client secrets", "Generate secret"),
    ),
    needs_secret=True,
    registers_at_sign_in=True,
    by_metadata=True,
    wants_resource=True,
    deletes_tokens=True,
    refresh_at=0.5,
)

# A server that the configuration describes, or its own metadata; nothing is known about it but that.
OTHER = Kind(
    key="other",
    name="OAuth server",
    authorize="",
    token="",
    bearer=True,
    hint="login_hint",
    whoami_fields=("preferred_username", "nickname", "login", "username"),
)

# No forge, and found at no host: where Coder has a forge's token, and gives it to the workspaces of who linked it.
CODER_WORKSPACE = Kind(key="coder-workspace", name="Coder workspace", authorize="", token="")

KINDS = (FORGEJO, GITLAB, GITHUB_COM, GHE_COM, GITHUB, BITBUCKET, BITBUCKET_DC, GOOGLESOURCE, CODER)
BY_KEY = {kind.key: kind for kind in (*KINDS, OTHER)}
