"""The one answer to "is this the same place?"."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_credential_forge import origin
from git_credential_forge.origin import Origin, of_request

relaxed = settings(deadline=None)
RFC_3986 = set(string.ascii_letters + string.digits + "-._~:/?#[]@!$&'()*+,;=%")
HOSTS = ("forge.example", "a", "127.0.0.1", "[::1]", "[2001:db8::2]", "x-1.example.")
origins = st.builds(
    Origin, st.sampled_from(["https", "http"]), st.sampled_from(HOSTS), st.integers(min_value=1, max_value=65_535)
)


@pytest.mark.parametrize(
    ("protocol", "host", "expected"),
    [
        ("https", "forge.example", ("https", "forge.example", 443)),
        ("https", "Forge.EXAMPLE:443", ("https", "forge.example", 443)),
        ("http", "forge.example", ("http", "forge.example", 80)),
        ("http", "forge.example:443", ("http", "forge.example", 443)),
        ("https", "forge.example:65535", ("https", "forge.example", 65_535)),
        ("https", "[2001:DB8:0:0::1]:8443", ("https", "[2001:db8::1]", 8443)),
        ("https", "[::ffff:127.0.0.1]", ("https", "[::ffff:7f00:1]", 443)),
        *(("https", host, None) for host in (
            None, "", "a b", "a/b", "a\\b", "user@forge.example", "a%2eb", "a_b", "a\n", "a\0b", "b\xfccher.example",
            "a:", "a:b", "a:0", "a:65536", "a:-1", "a:123456", "a:1:2", "::1", "[::1", "[::g]", "[1.2.3.4]", "[]",
            "a" * 254, "[::1]x", "a?b", "a#b",
        )),
        *((protocol, "forge.example", None) for protocol in (None, "", "HTTPS", "ftp", "smtp", "cert", "https ")),
    ],
)  # fmt: skip
def test_of_request(protocol: str | None, host: str | None, expected: tuple[str, str, int] | None) -> None:
    """A place that people sign in to has one spelling; whatever is odd is none."""
    assert of_request(protocol, host) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://forge.example", (("https", "forge.example", 443), "", "")),
        ("HTTPS://Forge.Example:443/A/b?C=d", (("https", "forge.example", 443), "/A/b", "C=d")),
        ("http://[::1]:80?x", (("http", "[::1]", 80), "", "x")),
        ("https://forge.example/a?b?c", (("https", "forge.example", 443), "/a", "b?c")),
        *((url, None) for url in (
            "", "forge.example", "//forge.example", "ftp://forge.example", "https:forge.example", "https:///path",
            "https://user@forge.example/", "https://user:pass@forge.example/", "https://forge.example@evil.example/",
            "https://forge.example\\@evil.example/", "https://forge.example/#fragment", "https://forge.example#",
            "https://forge.example/a b", "https://forge.example/\n", "\nhttps://forge.example/",
            'https://forge.example/"', "https://forge.example/<", "https://forge.example/\\", "https://f\xf6rge.example/",
            "https://forge.example/\xe9", "https://forge.example/" + "a" * 16384, "https://forge.example:99999/",
            "javascript:alert(1)//https://forge.example", "file:///etc/passwd",
        )),
    ],
)  # fmt: skip
def test_parse(url: str, expected: object) -> None:
    """An address without userinfo and fragment, in RFC 3986's characters alone: nobody reads it otherwise."""
    assert origin.parse(url) == expected


@relaxed
@given(st.text(max_size=80) | st.text("htps:/@[]0.?#%\\\n", max_size=40).map("https://".__add__))
def test_parse_never_raises(text: str) -> None:
    """Whatever is read, the answer is a place or None; a place has RFC 3986's characters only."""
    found = origin.parse(text)
    assert found is None or set(text) <= RFC_3986


@relaxed
@given(origins)
def test_url_round_trip(place: Origin) -> None:
    """What an origin prints is that origin again, in git's spelling and in a URL's."""
    parsed = origin.parse(place.url + "/x?y")
    assert parsed == (place, "/x", "y")
    assert of_request(place.scheme, place.netloc) == place


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://forge.example", "http://forge.example"),
        ("https://forge.example", "https://forge.example:8443"),
        ("https://forge.example:80", "http://forge.example:80"),
        ("https://forge.example", "https://forge.example."),
        ("https://forge.example", "https://forge.example.evil"),
        ("https://x.http", "http://x"),
        ("https://a.8080", "https://a:8080"),
        ("https://10.0.0.1", "https://10.0.0:1"),
        ("https://a.8080.http", "http://a:8080"),
        ("https://1--2", "https://[1::2]"),
    ],
)
def test_different_places(one: str, other: str) -> None:
    """Two places are not equal, and the session of the one never stands where the other's would be looked for."""
    first, second = origin.parse(one), origin.parse(other)
    assert first
    assert second
    assert first.origin != second.origin
    assert first.origin.netloc != second.origin.netloc or first.origin.scheme != second.origin.scheme
    assert first.origin.hidden != second.origin.hidden


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.255.255.254", "localhost", "LocalHost", "[::1]", "[0:0::0:1]")),
        *((host, False) for host in (
            "128.0.0.1", "0.0.0.0", "127.0.0.1.evil.example", "x127.0.0.1", "localhost.evil.example", "localhost.",
            "[::]", "[::2]", "[::ffff:127.0.0.1]", "127.1", "forge.example", "1270.0.0.1", "10.127.0.0",
        )),
    ],
)  # fmt: skip
def test_loopback(host: str, loopback: bool) -> None:
    """Only what cannot leave this machine may be spoken to without TLS."""
    place = of_request("http", host)
    assert place
    assert place.loopback is loopback


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("https://forge.example", "forge.example.git-credential-forge.invalid"),
        ("https://Forge.example:8443", "forge.example.8443.git-credential-forge.invalid"),
        ("http://forge.example", "forge.example.http.git-credential-forge.invalid"),
        ("https://[2001:db8::1]:3000", "2001-0db8-0000-0000-0000-0000-0000-0001.3000.git-credential-forge.invalid"),
    ],
)
def test_hidden_host(url: str, hidden: str) -> None:
    """Sessions stand under a name that nobody can own, without a colon: keychain helpers cut there."""
    found = origin.parse(url)
    assert found
    assert found.origin.hidden == hidden
    assert ":" not in hidden


@relaxed
@given(origins, st.data())
def test_hidden_hosts_are_given_to_nobody(place: Origin, data: st.DataObject) -> None:
    """However the letters are cased, with a port, a user or a dot behind: a request for a session's host is known."""
    cased = "".join(data.draw(st.sampled_from([letter.lower(), letter.upper()])) for letter in place.hidden)
    around = data.draw(st.sampled_from(["{}", "{}.", "{}:443", "user@{}", "a:b@{}:1", "x.{}"]))
    assert origin.is_hidden(around.format(cased))


@pytest.mark.parametrize(
    ("host", "hidden"),
    [
        ("git-credential-forge.invalid", True),
        (".git-credential-forge.invalid", True),
        *((host, False) for host in (
            None, "", "invalid", "forge.example", "xgit-credential-forge.invalid", "git-credential-forge.example",
            "git-credential-forge.invalid.example",
        )),
    ],
)  # fmt: skip
def test_is_hidden(host: str | None, hidden: bool) -> None:
    """The ending counts, at a dot."""
    assert origin.is_hidden(host) is hidden
