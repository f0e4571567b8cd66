"""Writes docs/forges.md: which forge can be used how, with the test that shows it.

    python3 -m tests.forges

No cell says yes without the name of a test, and `test_forges.py` looks that every name is one of a test. What a forge
has not, by its record, is not there.
"""

from __future__ import annotations

from typing import NamedTuple

from git_credential_forge import forges
from git_credential_forge.forges import Kind
from tests.support.surroundings import ROOT

PAGE = ROOT / "docs" / "forges.md"
COLUMNS = ("recognised", "sign-in", "refresh", "device", "paste", "account", "revoke", "Bearer", "LFS")
RECORDED = "tests/e2e/test_recorded.py::test_"
CODER = "tests/e2e/test_coder.py::test_"
CERTIFIED = "tests/e2e/test_certified.py::test_"
OTHERS = "tests/e2e/test_settings_of_others.py::test_works_as_it_stands"

NONE, NO, MEANT, NOT_TRIED = "none there", "no", "same record", "not tried"
RUN, REPLAYED, MADE_UP, NOT_RUN = "run", "replayed", "made up", "not run"


class Row(NamedTuple):
    name: str
    kind: Kind
    how: str  # one of these four
    tests: dict[str, str]
    words: dict[str, str]  # what stands where no test is

    def cell(self, column: str) -> str:
        if column in self.tests:
            return "yes"
        if column == "Bearer":
            return self.words.get(column, NOT_TRIED) if self.kind.bearer else NO
        has = {"device": self.kind.device, "revoke": self.kind.revoke}
        return self.words.get(column) or (NONE if column in has and not has[column] else NO)


def _replayed(name: str, kind: Kind, record: str, recognised: str, *lacks: str, device: bool = False) -> Row:
    tests = {
        "recognised": recognised,
        "sign-in": f"{RECORDED}sign_in_and_push[{record}]",
        "refresh": f"{RECORDED}refresh[{record}]",
        "device": f"{RECORDED}device[granted-{record}]",
        "paste": f"{RECORDED}paste[{record}]",
        "account": f"{RECORDED}a_name_in_the_address[{record}]",
        "revoke": f"{RECORDED}sign_out[{record}]",
        "LFS": f"{RECORDED}lfs[{record}]",
    }
    without = {*lacks, *(() if device else ("device",)), *(() if kind.revoke else ("revoke",))}
    return Row(name, kind, REPLAYED, {k: v for k, v in tests.items() if k not in without}, dict.fromkeys(lacks, NONE))


def _named(host: str) -> str:
    return f"tests/test_recognise.py::test_look_alikes[{host}]"


def _challenge(realm: str, key: str) -> str:
    return f'tests/test_recognise.py::test_challenge_of_each[Basic realm="{realm}"-{key}]'


def _of_record(name: str, kind: Kind, host: str) -> Row:
    """A host that is served by another row's record, at addresses of its own."""
    same = {column: MEANT for column in COLUMNS if column != "recognised"}
    words = same | {name: NONE for name, has in (("device", kind.device), ("revoke", kind.revoke)) if not has}
    return Row(name, kind, NOT_RUN, {"recognised": _named(host)}, words)


FORGEJO = {
    "recognised": "tests/test_recognise.py::test_recorded_challenges[forgejo]",
    "sign-in": "tests/e2e/test_journey.py::test_first_push_and_after",
    "refresh": "tests/e2e/test_journey.py::test_after_expiry_a_push_refreshes_silently",
    "paste": "tests/e2e/test_paste.py::test_push_without_a_display",
    "account": "tests/e2e/test_forges.py::test_two_accounts",
    "Bearer": "tests/e2e/test_bearer.py::test_clone_and_push",
    "LFS": "tests/e2e/test_recorded.py::test_lfs_at_gitea",
}
ROWS = (
    Row("Forgejo", forges.FORGEJO, RUN, FORGEJO, {}),
    Row("Gitea", forges.FORGEJO, RUN, FORGEJO | {"recognised": FORGEJO["recognised"].replace("forgejo", "gitea")}, {}),
    _of_record("codeberg.org", forges.FORGEJO, "codeberg.org"),
    _of_record("gitea.com", forges.FORGEJO, "gitea.com"),
    _replayed("GitLab, self-managed", forges.GITLAB, "gitlab", _challenge("GitLab", "gitlab"), device=True),
    _of_record("gitlab.com", forges.GITLAB, "gitlab.com"),
    _replayed("github.com", forges.GITHUB_COM, "github", _named("github.com"), "refresh", device=True),
    _replayed(
        "GitHub Enterprise Server", forges.GITHUB, "github-enterprise", _challenge("GitHub", "github"), device=True
    ),
    _of_record("ghe.com", forges.GHE_COM, ".ghe.com"),
    _replayed("Bitbucket Cloud", forges.BITBUCKET, "bitbucket", _named("bitbucket.org")),
    _replayed(
        "Bitbucket Data Center",
        forges.BITBUCKET_DC,
        "bitbucket-dc",
        _challenge("Atlassian Bitbucket", "bitbucket-dc"),
    ),
    _replayed("googlesource.com", forges.GOOGLESOURCE, "googlesource", _named(".googlesource.com")),
    *(
        Row(
            f"Coder of {year}",
            forges.CODER,
            REPLAYED,
            dict.fromkeys(("recognised", "sign-in", "refresh", "revoke"), f"{CODER}the_whole_way[{year}]"),
            {"paste": NOT_TRIED, "account": NOT_TRIED, "LFS": NONE},
        )
        for year in (2025, 2026)
    ),
    Row(
        "any server, by configuration",
        forges.OTHER,
        MADE_UP,
        {
            "recognised": f"{OTHERS}[GCM]",
            "sign-in": f"{OTHERS}[GCM]",
            "refresh": f"{OTHERS}[GCM]",
            "device": "tests/oauth/test_device.py::test_a_real_server",
            "account": f"{OTHERS}[GCM]",
        },
        {"revoke": NO, "paste": NOT_TRIED, "LFS": NOT_TRIED},
    ),
    Row(
        "any server, by its metadata",
        forges.OTHER,
        RUN,
        dict.fromkeys(("recognised", "sign-in", "refresh", "revoke"), f"{CERTIFIED}the_whole_way[OpenID]")
        | {"account": f"{CERTIFIED}the_account_is_hinted", "paste": f"{CERTIFIED}paste"},
        {"device": NOT_TRIED, "LFS": NOT_TRIED},
    ),
)
ABOUT = """# Which forge, and how

What works where. `yes` has a test, by its number below; there is none without.

"""
LEGEND = """
How it was seen to work:

- *run*: against a real server, with git's own server behind it. For Forgejo and Gitea that is django-oauth-toolkit at
  Gitea's paths, beside answers that real servers of both gave, and `tests/real/test_any_forge.py` has passed at a real
  Gitea 1.25.4; for any server by its metadata it is npm's oidc-provider, a certified one.
- *replayed*: against a server made of answers that were read in the forge's documentation and source, not run; they
  stand in `tests/recorded`, each with its source. `github.com`, Bitbucket Cloud and `googlesource.com` exist once in
  the world: there the record is used as it is, with its hosts moved to this machine. For Coder it is a server with
  rules of its own, as both are: what the one of 2025 answers was recorded from a real one, and
  `tests/real/test_any_coder.py` has passed at a real Coder 2.26.0 and 2.30.0.
- *made up*: against a server of the test's own, that no record is of.
- *not run*: `codeberg.org`, `gitea.com`, `gitlab.com` and `ghe.com` cannot be run here. They are served by the record
  of another row (*same record*), and that the name leads to it is tested. `tests/real/test_any_forge.py` goes the
  whole way at a forge that you name. macOS cannot be run here either.

The columns:

- *recognised*: by name, by challenge, by what the server says of itself, or by configuration; look-alikes are not.
- *refresh*: a token that has run out is replaced without a word. A token of a GitHub OAuth App has no end.
- *device*: a code entered in any browser (RFC 8628). GitLab has it since 17.2; at GitHub the application allows it.
- *account*: the account that an address names, the name that the forge wants beside a token.
- *revoke*: `logout` ends the tokens at the forge by a call (RFC 7009). Where that is *none there*, it says how long
  they stay valid, and where a person can end them.
- *Bearer*: tokens go by Basic, which every forge takes, and LFS servers too; where this says yes, by Bearer if
  `forgeBearer` is set and git is 2.46 or newer.
- *LFS*: git-lfs is given the token that git has. Whether the forge's LFS server takes it is up to the forge.

Only Forgejo and Gitea need nothing before the first sign-in, and a Coder where programs may register. Every other forge
needs a client id of its own; where an application has to have a secret, that too, except with a code at GitHub:

"""


def page() -> str:
    numbers: dict[str, int] = {}
    lines = [ABOUT, _line("forge", "seen", *COLUMNS), _line(*["---"] * (len(COLUMNS) + 2))]
    for row in ROWS:
        cells = []
        for column in COLUMNS:
            said = row.cell(column)
            if said == "yes":
                said = f"yes {numbers.setdefault(row.tests[column], len(numbers) + 1)}"
            cells.append(said)
        lines.append(_line(row.name, row.how, *cells))
    lines.append(LEGEND)
    lines += [_line("forge", "client id", "secret", "scopes"), _line(*["---"] * 4)]
    for kind in forges.KINDS:
        own = "this machine's, or yours" if kind.registers_at_sign_in else "yours"
        ours = "built in" if kind.client_id else own
        scopes = f"`{kind.scopes}`" if kind.scopes else "all"
        lines.append(_line(_title(kind), ours, "yes" if kind.needs_secret else "no", scopes))
    lines.append("\n## The tests\n\n")
    lines += [f"{number}. `{test}`\n" for test, number in numbers.items()]
    lines.append("\nWritten by `python3 -m tests.forges` from the records and from this list of tests.\n")
    return "".join(lines)


def tests() -> list[str]:
    return sorted({test for row in ROWS for test in row.tests.values()})


def _title(kind: Kind) -> str:
    return f"{kind.name} ({', '.join(kind.hosts)})" if kind.hosts else kind.name


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
