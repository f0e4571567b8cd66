"""What people set in their git configuration, read by real git from real files."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from git_credential_forge import settings
from git_credential_forge.secret import Secret
from git_credential_forge.settings import KEYS, HttpSettings, Settings
from tests.support.surroundings import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://forge.example"
NUMBERS = ("sign_in_timeout", "quiet_period")


@pytest.fixture(autouse=True)
def config(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The global configuration of a home in which nothing else is set; the current directory is no repository."""
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.chdir(home)
    return home / ".gitconfig"


def key_value(field: str) -> tuple[str, object]:
    """A value for a field as it stands in a file, and as it is read."""
    if field in NUMBERS:
        return "17", 17
    if field in ("bearer", "allow_http", "secret_in_header", "store_insecure"):
        return "true", True
    if field == "interactive":
        return "never", False
    if field == "coder":
        return "NEVER", "never"
    return ("Paste", "paste") if field == "flow" else ("some value", "some value")


def plain(value: object) -> object:
    return value.reveal() if isinstance(value, Secret) else value


def test_nothing_set() -> None:
    """The defaults hold; nobody needs a configuration."""
    assert settings.read(URL) == Settings()
    assert settings.read_http(URL) == HttpSettings()


@pytest.mark.parametrize(("field", "key"), [(field, key) for field, keys in KEYS.items() for key in keys])
@pytest.mark.parametrize("section", ["credential", f'credential "{URL}"'])
def test_every_spelling(field: str, key: str, section: str, config: Path) -> None:
    """Each key that people have from git-credential-oauth or Git Credential Manager counts, for all or for a host."""
    written, read = key_value(field)
    config.write_text(f"[{section}]\n\t{key.upper()} = {written}\n")
    assert plain(getattr(settings.read(f"{URL}/a.git"), field)) == read


def test_the_table_is_whole() -> None:
    """Every setting can be set, and nothing else is looked for."""
    assert set(KEYS) == set(Settings._fields)
    spelt = [key.lower() for keys in KEYS.values() for key in keys]
    assert len(spelt) == len(set(spelt))


@pytest.mark.parametrize(
    ("field", "ours", "theirs"),
    [
        ("authorize_url", "oauthAuthURL", "oauthAuthorizeEndpoint"),
        ("token_url", "oauthTokenURL", "oauthTokenEndpoint"),
        ("redirect_url", "oauthRedirectURL", "oauthRedirectUri"),
        ("allow_http", "forgeAllowHttp", "allowUnsafeRemotes"),
    ],
)
def test_our_spelling_goes_first(field: str, ours: str, theirs: str, config: Path) -> None:
    """Where both are set, in whatever order they stand."""
    for lines in ((f"{ours} = 1", f"{theirs} = 0"), (f"{theirs} = 0", f"{ours} = 1")):
        config.write_text("[credential]\n\t" + "\n\t".join(lines) + "\n")
        assert getattr(settings.read(URL), field) in ("1", True)


SPECIFIC = """
[credential]
    oauthClientId = general
[credential "https://forge.example"]
    oauthClientId = host
[credential "https://forge.example/team"]
    oauthClientId = path
[credential "https://alice@forge.example"]
    oauthClientId = user
[credential "https://*.wild.example"]
    oauthClientId = wild
[credential "https://port.example:8443"]
    oauthClientId = port
[credential "http://forge.example"]
    oauthClientId = plain
"""


@pytest.mark.parametrize(
    ("url", "client"),
    [
        ("https://elsewhere.example", "general"),
        ("https://forge.example", "host"),
        ("https://forge.example/teams/a.git", "host"),
        ("https://forge.example/team/a.git", "path"),
        ("https://alice@forge.example", "user"),
        ("https://alice@forge.example/team/a.git", "path"),
        ("https://bob@forge.example", "host"),
        ("https://x.wild.example", "wild"),
        ("https://wild.example", "general"),
        ("https://port.example:8443/x", "port"),
        ("https://port.example/x", "general"),
        ("http://forge.example/x", "plain"),
        ("https://forge.example.evil.example", "general"),
        ("https://sub.forge.example", "general"),
    ],
)
def test_what_fits_best(url: str, client: str, config: Path) -> None:
    """Host, port, path and user count as git itself matches them."""
    config.write_text(SPECIFIC)
    assert settings.read(url).client_id == client


@pytest.mark.parametrize(
    ("field", "key", "value", "expected", "said"),
    [
        *(("allow_http", "forgeAllowHttp", value, False, "") for value in ("false", "No", "off", "0", "")),
        *(("allow_http", "forgeAllowHttp", value, True, "") for value in ("true", "yes", "on", "1")),
        *(("interactive", "interactive", value, False, "") for value in ("false", "never", "Never", "no", "0")),
        *(("interactive", "interactive", value, True, "") for value in ("true", "auto", "always", "1")),
        *(("flow", "forgeFlow", value, value.lower(), "") for value in ("auto", "Browser", "paste", "NEVER")),
        ("flow", "forgeFlow", "device\x1b", "auto",
         "forge: credential.forgeFlow knows auto, browser, device, paste, never; not used: device\n"),
        ("coder", "forgeCoder", "on", "auto", "forge: credential.forgeCoder knows auto, never; not used: on\n"),
        ("sign_in_timeout", "forgeSignInTimeout", "0", 0, ""),
        ("sign_in_timeout", "forgeSignInTimeout", "99999", 99_999, ""),
        *(("sign_in_timeout", "forgeSignInTimeout", value, 300,
           f"forge: credential.forgeSignInTimeout is no number of seconds, so it is not used: {value}\n")
          for value in ("-1", "5m", "1.5", "100000", "")),
        ("quiet_period", "forgeQuietPeriod", "soon", 60,
         "forge: credential.forgeQuietPeriod is no number of seconds, so it is not used: soon\n"),
        ("scopes", "oauthScopes", "", "", ""),
    ],
)  # fmt: skip
def test_values(
    field: str, key: str, value: str, expected: object, said: str, *, config: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A value that makes no sense is named in one clean line, and the default holds."""
    subprocess.run(["git", "config", "--file", config, f"credential.{key}", value], env=dict(os.environ), check=True)
    assert getattr(settings.read(URL), field) == expected
    assert capfd.readouterr().err == said


def test_a_key_without_a_value_is_true(config: Path) -> None:
    """As for git."""
    config.write_text("[credential]\n\tforgeAllowHttp\n[http]\n\tsslVerify\n")
    assert settings.read(URL).allow_http is True
    assert settings.read_http(URL).verify is True


def test_the_client_secret_is_one(config: Path) -> None:
    """Read as a secret, so that settings can be printed."""
    config.write_text("[credential]\n\toauthClientSecret = hush\n")
    found = settings.read(URL)
    assert found.client_secret == Secret("hush")
    assert "hush" not in repr(found)


def through_git(monkeypatch: pytest.MonkeyPatch, *given: str) -> None:
    """Put into this process what `git -c …` hands down to the programs it starts."""
    show = f"!{sys.executable} -c 'import os; print(os.environ[\"GIT_CONFIG_PARAMETERS\"])'"
    words = [word for pair in (*given, f"alias.show={show}") for word in ("-c", pair)]
    done = subprocess.run(["git", *words, "show-it"], env=dict(os.environ), capture_output=True, check=False)
    assert done.returncode != 0, "no such command"
    words = [word.replace("alias.show=", "alias.show-it=") for word in words]
    done = subprocess.run(["git", *words, "show-it"], env=dict(os.environ), capture_output=True, check=True)
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", done.stdout.decode().strip())


def test_command_line(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`git -c` reaches us as it reaches git, and goes before the files."""
    config.write_text("[credential]\n\tforgeFlow = paste\n[http]\n\tproxy = http://file.example\n")
    through_git(monkeypatch, "credential.forgeFlow=never", "http.proxy=")
    assert settings.read(URL).flow == "never"
    assert settings.read_http(URL).proxy is None


def test_repository(home: Path, monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    """git starts us in the work tree: what is set there counts before what is set for the person."""
    config.write_text("[credential]\n\toauthClientId = person\n\toauthScopes = kept\n")
    subprocess.run(["git", "init", "-q", home / "work"], env=clean_environment(home), check=True)
    with (home / "work" / ".git" / "config").open("a") as file:
        file.write("[credential]\n\toauthClientId = repository\n")
    monkeypatch.chdir(home / "work")
    found = settings.read(URL)
    assert (found.client_id, found.scopes) == ("repository", "kept")


@pytest.fixture
def machine_local(home: Path) -> Path:
    path = home / ".config" / "git-credential-forge" / "gitconfig"
    path.parent.mkdir(parents=True)
    path.write_text(f'[credential "{URL}"]\n\toauthClientId = this machine\n')
    return path


def test_machine_local_file(machine_local: Path, config: Path) -> None:
    """It counts where nothing includes it, and once where something does; what fits better goes before it."""
    assert settings.read(URL).client_id == "this machine"
    config.write_text(f"[include]\n\tpath = {machine_local}\n[credential]\n\toauthClientId = general\n")
    assert settings.read(URL).client_id == "this machine"
    config.write_text(f'[credential "{URL}/team"]\n\toauthClientId = path\n')
    assert settings.read(f"{URL}/team/a.git").client_id == "path"
    machine_local.unlink()
    assert settings.read(URL).client_id is None


@pytest.mark.parametrize("included", [True, False])
def test_the_person_goes_before_the_machine_local_file(machine_local: Path, config: Path, *, included: bool) -> None:
    """As git has it, whose include stands first: and what was kept for one client is not used with another."""
    kept = "\toauthClientSecret = kept\n\toauthScopes = kept\n\toauthAuthURL = https://kept.example/a\n"
    machine_local.write_text(machine_local.read_text() + kept)
    first = f"[include]\n\tpath = {machine_local}\n" if included else ""
    config.write_text(f'{first}[credential "{URL}"]\n\toauthDefaultUserName = me\n')
    found = settings.read(URL)
    assert (found.client_id, found.scopes, found.default_username) == ("this machine", "kept", "me")
    assert found.client_secret == Secret("kept")
    config.write_text(f'{first}[credential "{URL}"]\n\toauthClientId = mine\n')
    found = settings.read(URL)
    assert (found.client_id, found.client_secret, found.scopes) == ("mine", None, None)
    assert found.authorize_url == "https://kept.example/a", "it is the server's, whoever asks there"
    config.write_text(f'{first}[credential "{URL}"]\n\toauthClientId = mine\n\toauthScopes = mine\n')
    assert settings.read(URL).scopes == "mine"


def test_command_line_goes_before_the_machine_local_file(machine_local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person types for one command is meant, whatever stands in a file."""
    assert machine_local.is_file()
    through_git(monkeypatch, f"credential.{URL}.oauthClientId=typed")
    assert settings.read(URL).client_id == "typed"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "{home}/.config/git-credential-forge"),
        ("", "{home}/.config/git-credential-forge"),
        ("relative", "{home}/.config/git-credential-forge"),
        ("{home}/elsewhere", "{home}/elsewhere/git-credential-forge"),
    ],
)
def test_directory(value: str | None, expected: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The XDG rule on every platform; a relative path is void, for a helper is started anywhere."""
    if value is not None:
        monkeypatch.setenv("XDG_CONFIG_HOME", value.format(home=home))
    assert settings.directory() == expected.format(home=home)


PROXY = "http://env.example:3128"


@pytest.mark.parametrize(
    ("text", "environment", "url", "expected"),
    [
        ("sslCAInfo = /ca.pem", {}, URL, {"ca_file": "/ca.pem"}),
        ("sslCAInfo = ~/ca.pem", {}, URL, {"ca_file": "{home}/ca.pem"}),
        ("sslCAPath = ~/ca", {}, URL, {"ca_path": "{home}/ca"}),
        ("sslCAInfo = /ca.pem", {"GIT_SSL_CAINFO": "/env.pem"}, URL, {"ca_file": "/env.pem"}),
        ("", {"GIT_SSL_CAPATH": "/env"}, URL, {"ca_path": "/env"}),
        ("sslVerify = false", {}, URL, {"verify": False}),
        ("sslVerify = Off", {}, URL, {"verify": False}),
        ("sslVerify = true", {"GIT_SSL_NO_VERIFY": ""}, URL, {"verify": False}),
        ("sslVerify = true", {}, URL, {}),
        ("proxy = cfg.example:8080", {"https_proxy": PROXY}, URL, {"proxy": "http://cfg.example:8080"}),
        ("proxy = socks5h://cfg.example", {}, URL, {"proxy": "socks5h://cfg.example"}),
        ("proxy =", {"https_proxy": PROXY, "all_proxy": PROXY}, URL, {}),
        ("", {"https_proxy": PROXY}, URL, {"proxy": PROXY}),
        ("", {"HTTPS_PROXY": PROXY}, URL, {"proxy": PROXY}),
        ("", {"https_proxy": "env.example"}, URL, {"proxy": "http://env.example"}),
        ("", {"all_proxy": PROXY}, URL, {"proxy": PROXY}),
        ("", {"ALL_PROXY": PROXY, "https_proxy": "http://first.example"}, URL, {"proxy": "http://first.example"}),
        ("", {"http_proxy": PROXY}, URL, {}),
        ("", {"http_proxy": PROXY}, "http://forge.example", {"proxy": PROXY}),
        ("", {"HTTP_PROXY": PROXY}, "http://forge.example", {}),
        ("", {"https_proxy": PROXY}, "http://forge.example", {}),
        ("", {"https_proxy": PROXY, "no_proxy": "forge.example"}, URL + ":8443/x", {}),
        ("proxy = cfg.example", {"no_proxy": "forge.example"}, URL, {}),
    ],
)  # fmt: skip
def test_http(
    text: str,
    environment: dict[str, str],
    url: str,
    expected: dict[str, Any],
    *,
    home: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Connections are made as git makes them: its settings, its variables, curl's, in their order."""
    config.write_text(f"[http]\n\t{text}\n")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    wanted: dict[str, Any] = {k: v.format(home=home) if isinstance(v, str) else v for k, v in expected.items()}
    assert settings.read_http(url) == HttpSettings(**wanted)


def test_http_for_one_host(config: Path) -> None:
    """`http.<url>.*` counts for that host, and no other."""
    config.write_text(f'[http "{URL}"]\n\tproxy = one.example\n\tsslVerify = false\n')
    assert settings.read_http(f"{URL}/login") == HttpSettings(proxy="http://one.example", verify=False)
    assert settings.read_http("https://other.example") == HttpSettings()


@pytest.mark.parametrize(
    ("pattern", "host", "excluded"),
    [
        ("*", "forge.example", True),
        ("forge.example", "forge.example", True),
        ("FORGE.example", "forge.example", True),
        ("forge.example", "Forge.Example", True),
        (".example", "forge.example", True),
        ("example", "forge.example", True),
        ("a.example, forge.example", "forge.example", True),
        ("a.example forge.example", "forge.example", True),
        ("forge.example", "xforge.example", False),
        ("forge.example", "forge.example.evil", False),
        ("x.forge.example", "forge.example", False),
        ("*.example", "forge.example", False),
        ("", "forge.example", False),
        (",, ,", "forge.example", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "[::1]:8443", True),
        ("[::1]", "[::1]", True),
        ("forge.example", "forge.example:8443", True),
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_no_proxy(name: str, pattern: str, host: str, excluded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name covers itself and what is below it, in any case of letters; a lone star covers all."""
    monkeypatch.setenv("https_proxy", PROXY)
    monkeypatch.setenv(name, pattern)
    assert (settings.read_http(f"https://{host}/x").proxy is None) is excluded
