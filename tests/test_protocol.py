"""What git says and is told, as bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from git_credential_forge import protocol
from git_credential_forge.errors import BadRequestError
from git_credential_forge.protocol import Answer, Request
from git_credential_forge.secret import Secret

EXPIRY = 1_800_000_000
relaxed = settings(deadline=None)

# A value as bytes may come: anything but the three that end lines for somebody.
values = st.binary(max_size=60).map(lambda data: data.translate(None, b"\0\r\n").decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"", {}),
        (b"\n", {}),
        (b"protocol=https\nhost=h\n\n", {"protocol": "https", "host": "h"}),
        (b"protocol=https\nhost=h", {"protocol": "https", "host": "h"}),
        (b"protocol=https\n\nhost=after the blank line\n", {"protocol": "https"}),
        (b"protocol=cert\nhost=\npath=/k.pem\n", {"protocol": "cert", "host": "", "path": "/k.pem"}),
        (b"path=a=b==c\n", {"path": "a=b==c"}),
        (b"username=\n", {"username": ""}),
        (b"username=\xff\xc3\xa9\n", {"username": "\udcff\xe9"}),
        (b"username=a\x0bb\x0c\x1c\x85\xe2\x80\xa8c\n", {"username": "a\x0bb\x0c\x1c\udc85\u2028c"}),
        (b"username= spaces \t\n", {"username": " spaces \t"}),
        (b"host=h\nhost=h\n", {"host": "h"}),
        (b"unknown=x\nUnknown[]=\nhost=h\nmore=y\nunknown=z\n", {"host": "h"}),
        (b"host[]=h\nprotocol[]=https\n", {}),
        (b"state=s\ncapability=state\nwwwauth=Basic\n", {}),
        (b"capability[]=authtype\ncapability[]=state\n", {"capability": ("authtype", "state")}),
        (b"wwwauth[]=a\nwwwauth[]=b\nwwwauth[]=\nwwwauth[]=c\n", {"wwwauth": ("c",)}),
        (b"state[]=forge:1\nstate[]=\n", {"state": ()}),
        (b"password_expiry_utc=12\nauthtype=Bearer\nephemeral=1\n",
         {"password_expiry_utc": "12", "authtype": "Bearer", "ephemeral": "1"}),
    ],
)  # fmt: skip
def test_parse(data: bytes, fields: dict[str, Any]) -> None:
    """LF alone ends a line, a blank one the request; an unknown key is passed over; an empty value clears a list."""
    assert protocol.parse(data) == Request(**fields)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"host=h\rprotocol=https\n", "carriage return"),
        (b"host=h\r\n", "carriage return"),
        (b"\r\n", "carriage return"),
        (b"unknown=\r\n", "carriage return"),
        (b"password=\0\n", "NUL"),
        (b"un\0known=x\n", "NUL"),
        (b"wwwauth[]=" + b"x" * 70_000 + b"\r\n", "carriage return"),
        (b"host\n", "no '='"),
        (b"host=a\nhost=b\n", "says host twice"),
        (b"password=one\npassword=two\n", "says password twice"),
        (b"host=\nhost=b\n", "says host twice"),
    ],
)
def test_parse_refuses(data: bytes, said: str) -> None:
    """What one program takes for a line end and another does not, and what could be meant twice, is no request."""
    with pytest.raises(BadRequestError, match=said) as caught:
        protocol.parse(data)
    assert not any(value in caught.value.message for value in ("one", "two", "h\r"))


@pytest.mark.parametrize(
    ("key", "longest"),
    [
        *((key, 65_535) for key in ("host", "path", "username", "authtype", "unknown")),
        *((key, 1 << 20) for key in ("password", "credential", "oauth_refresh_token")),
    ],
)
def test_line_length(key: str, longest: int) -> None:
    """A line of git's longest passes, one byte more does not; longer ones only where a token stands."""
    line = f"{key}=".encode().ljust(longest, b"x")
    request = protocol.parse(line + b"\n")
    if key != "unknown":
        value = getattr(request, key.removesuffix("[]"))
        text = value.reveal() if isinstance(value, Secret) else "".join(value)
        assert len(text) == longest - len(key) - 1
    with pytest.raises(BadRequestError, match="too long"):
        protocol.parse(line + b"x\n")


@pytest.mark.parametrize("key", ["wwwauth[]", "state[]"])
def test_a_long_word_of_others(key: str) -> None:
    """A header of a server's, or another helper's state, that is too long is passed over: no reason to refuse git."""
    line = f"{key}=".encode().ljust(65_536, b"x")
    request = protocol.parse(b"host=h\n" + line + b"\n" + f"{key}=short\n".encode())
    assert (request.host, getattr(request, key.removesuffix("[]"))) == ("h", ("short",))


@relaxed
@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"host=h\n", b"state[]=\n", b"\r", b"=\n", b"\n"])).map(b"".join)
)
def test_parse_raises_one_error_only(data: bytes) -> None:
    """Whatever bytes come, the result is a request or BadRequestError."""
    try:
        request = protocol.parse(data)
    except BadRequestError:
        return
    assert b"\r" not in data.partition(b"\n\n")[0] or data.startswith(b"\n")
    assert isinstance(request, Request)


@relaxed
@given(st.dictionaries(st.sampled_from(["protocol", "host", "path", "username", "password", "credential"]), values))
@example({"password": "\udcff" * 9, "host": "", "path": "="})
def test_round_trip(fields: dict[str, str]) -> None:
    """What was written is read again to the byte, also what is no text in any encoding."""
    found = protocol.parse(protocol.encode([*fields.items()]))
    kept = {key: getattr(found, key) for key in fields}
    assert {k: v.reveal() if isinstance(v, Secret) else v for k, v in kept.items()} == fields


@relaxed
@given(values, st.sampled_from("\0\r\n"), values, st.booleans())
def test_encode_refuses(before: str, bad: str, after: str, secret: bool) -> None:
    """A value that would end a line early is never written, nor shown in the reason (CVE-2020-5260)."""
    text = f"{before}{bad}{after}"
    with pytest.raises(BadRequestError) as caught:
        protocol.encode([("host", "h"), ("password", Secret(text) if secret else text)])
    assert caught.value.message == "refused to write a password that has a line end in it"


def test_encode_leaves_out_what_nobody_said() -> None:
    """None is no line; an empty value is one."""
    assert protocol.encode([("path", None), ("host", ""), ("password", Secret("s"))]) == b"host=\npassword=s\n"


def test_secrets_are_wrapped_when_read() -> None:
    """From the first moment: a request that is printed whole shows none."""
    request = protocol.parse(b"password=hush1\ncredential=hush2\noauth_refresh_token=hush3\nhost=h\n")
    assert "hush" not in f"{request} {request!r} {request._asdict()}"
    wrapped = (request.password, request.credential, request.oauth_refresh_token)
    assert [value.reveal() for value in wrapped if value] == ["hush1", "hush2", "hush3"]


@pytest.mark.parametrize(
    ("username", "asked"),
    [
        (None, None),
        ("", None),
        ("oauth2", None),
        ("x-token-auth", None),
        ("git", None),
        ("alice", "alice"),
        ("Git", "Git"),
    ],
)
def test_who_is_asked_for(username: str | None, asked: str | None) -> None:
    """A name that forges take beside any token asks for nobody."""
    assert Request(username=username).asked == asked
    assert protocol.is_fixed_name(username) == (asked is None)


@pytest.mark.parametrize(
    ("state", "ours"),
    [((), None), (("other:1",), None), (("other:1", "forge:2", "forge:3"), "forge:2"), (("xforge:1",), None)],
)
def test_state_of_ours(state: tuple[str, ...], ours: str | None) -> None:
    """Only what begins with our prefix is ours: git passes on every helper's."""
    assert Request(state=state).state_of_ours == ours


@pytest.mark.parametrize("key", ["host", "path", "username"])
@pytest.mark.parametrize("character", [*map(chr, range(1, 32)), "\x7f"])
def test_control_in_what_chooses(key: str, character: str) -> None:
    """A control byte in what says where and as whom is seen; elsewhere it is nobody's business."""
    assert protocol.has_control(Request(**{key: f"a{character}b"}))  # type: ignore[arg-type]
    assert not protocol.has_control(Request(**{key: "a b\xe9\udcff"}))  # type: ignore[arg-type]
    assert not protocol.has_control(Request(wwwauth=(character,), password=Secret(character)))


ANSWER = b"username=alice\npassword=t\npassword_expiry_utc=1800000000\n"
STATE = b"capability[]=state\nstate[]=forge:1800000000\n"


@pytest.mark.parametrize(
    ("expiry", "capability", "wwwauth", "minted", "expected"),
    [
        (EXPIRY, (), (), False, ANSWER),
        (EXPIRY, ("authtype",), (), False, ANSWER),
        (EXPIRY, ("authtype", "state"), (), True, ANSWER + STATE),
        (EXPIRY, ("state",), (), False, ANSWER + STATE + b"continue=1\n"),
        (EXPIRY, ("state",), ('Basic realm="Gitea"',), False, ANSWER + STATE + b"continue=1\n"),
        (EXPIRY, ("state",), ('Basic realm="Gitea"', "negotiate"), False, ANSWER + STATE),
        (EXPIRY, ("state",), ("Negotiate oYG2",), False, ANSWER + STATE),
        (None, ("state",), (), False, b"username=alice\npassword=t\n"),
    ],
)
def test_answer(
    expiry: int | None, capability: tuple[str, ...], wwwauth: tuple[str, ...], minted: bool, expected: bytes
) -> None:
    """The launcher's answer to the byte: a state for who knows it, where there is an end to name the token; `continue`
    with what may be stale, unless Negotiate takes that round."""
    request = Request(capability=capability, wwwauth=wwwauth, oauth_refresh_token=Secret("never"))
    answer = Answer("alice", Secret("t"), expiry)
    assert protocol.encode_answer(answer, request, minted=minted) == expected + b"\n"


def test_answer_says_what_the_cache_announced() -> None:
    """git 2.46's cache names its capabilities first."""
    answer = Answer("alice", Secret("t"), EXPIRY, ("authtype",))
    assert protocol.encode_answer(answer, Request(), minted=False) == b"capability[]=authtype\n" + ANSWER + b"\n"


@pytest.mark.parametrize(
    ("state", "refused"),
    [
        ((), None),
        (("forge:1800000000",), EXPIRY),
        (("other:7", "forge:12"), 12),
        (("forge:",), None),
        (("forge:x",), None),
        (("forge:-1",), None),
        (("forge:" + "9" * 15,), 999_999_999_999_999),
        (("forge:" + "9" * 16,), None),
    ],
)
def test_refused(state: tuple[str, ...], refused: int | None) -> None:
    """The state that comes back after a 401 names the token by its end; what is no time names none."""
    assert Request(state=state).refused == refused


def test_fixed_answers() -> None:
    """Each ends as git-credential(1) has it."""
    assert protocol.QUIT == b"quit=1\n\n"
    assert protocol.CAPABILITIES == b"version 0\ncapability authtype\ncapability state\n"
