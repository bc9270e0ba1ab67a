"""Issuers of tokens in the settings file: what is taken, and what is refused where."""

import re
import textwrap
from pathlib import Path
from typing import get_args

import pytest

from fastpath.identity.token.algorithms import KINDS
from fastpath.settings import Settings, decode_settings, encode_settings, settings_schema
from fastpath.settings.file import load, validate
from fastpath.settings.issuers import Algorithm, ClaimNames, Issuer
from fastpath.settings.problem import SettingsError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "jwt-and-oidc.md"
GOOD = "name: corp, issuer: https://login.example.com/realms/a, audience: [gateway]"
ADMIN = f"control: {{issuers: [{{{GOOD}, grants: [GRANT]}}]}}"
MODEL = "models: [{name: llama, endpoints: [{url: 'http://127.0.0.1:9001/v1'}]}]"


def mistakes(text: str) -> list[tuple[str, str]]:
    """Paths and sentences of all mistakes in a file."""
    try:
        load(textwrap.dedent(text), {})
    except SettingsError as error:
        found = error.problems
    else:
        found = []
    assert all(problem.line > 0 for problem in found)
    return [(problem.path, problem.message) for problem in found]


def test_the_example_of_the_page_is_what_the_code_takes() -> None:
    example = re.search(r"^issuers:\n(?:[ #].*\n)+", PAGE.read_text(), re.MULTILINE)
    assert example is not None
    settings = load(f"{example[0]}tenants: [{{name: acme}}]\n", {})
    (issuer,) = settings.issuers
    assert issuer == Issuer(
        name="corp",
        issuer="https://login.example.com/realms/a",
        audience=("https://gateway.example.com",),
        algorithms=("RS256", "ES256"),
        claims=ClaimNames(user="sub", team="team", scopes="/realm_access/roles"),
        tenant="acme",
    )
    assert decode_settings(encode_settings(settings)) == settings
    assert validate(settings) == settings


def test_every_setting_has_a_value_that_is_taken() -> None:
    text = """
    issuers:
      - name: corp
        issuer: accounts.example.com
        audience: [a, b]
        jwks_uri: "https://10.0.0.1/keys?version=2"
        algorithms: [PS512, ES512]
        claims: {tenant: tid, team: "", user: email, scopes: ""}
        tenant: acme
        tenants: [acme, "*"]
        leeway: 0
        allow_hosts: [10.0.0.1]
        ca_file: ca.pem
        deny_users: ["alice|1"]
        deny_tokens: [abc]
        models: []
        members: listed
        paths: [/v1/embeddings, /v1/models]
        networks: [10.0.0.0/8, "2001:db8::1"]
        data_class: P1
    tenants:
      - name: acme
        token_scope: {paths: [/v1/models], networks: [10.0.0.0/8], data_class: P0}
        teams: [{name: u, token_scope: {}}]
        users: [{name: bob, token_scope: {data_class: P2}}]
      - {name: else, id: 0a, token_models: [], teams: [{name: t, token_models: [llama]}], users: [{name: "corp:ann"}]}
    """
    settings = load(f"{textwrap.dedent(text)}{MODEL}", {})
    assert decode_settings(encode_settings(settings)) == settings


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (f"issuers: [{{{GOOD}}}, {{{GOOD}}}]", "issuers[1].name", "the same as issuers[0].name"),
        (f"issuers: [{{{GOOD}}}, {{{GOOD}}}]", "issuers[1].issuer", "the same as issuers[0].issuer"),
        ("issuers: [{name: corp, issuer: https://a.test}]", "issuers[0].audience", "is missing"),
        ("issuers: [{name: corp, issuer: https://a.test, audience: []}]", "issuers[0].audience", "at least one"),
        (f"issuers: [{{{GOOD}, algorithms: [HS256]}}]", "issuers[0].algorithms[0]", "must be"),
        (f"issuers: [{{{GOOD}, algorithms: [none]}}]", "issuers[0].algorithms[0]", "must be"),
        (f"issuers: [{{{GOOD}, algorithms: []}}]", "issuers[0].algorithms", "at least one"),
        (f"issuers: [{{{GOOD}, leeway: 61}}]", "issuers[0].leeway", "from 0 to 60"),
        (f"issuers: [{{{GOOD}, claims: {{tenant: tid}}}}]", "issuers[0].claims", "belong together"),
        (f"issuers: [{{{GOOD}, tenants: [acme]}}]\ntenants: [{{name: acme}}]", "issuers[0].tenants", "belong together"),
        (f"issuers: [{{{GOOD}, jwks_uri: 'ftp://a.test/k'}}]", "issuers[0].jwks_uri", "must begin with https"),
        (f"issuers: [{{{GOOD}, jwks_uri: 'http://a.test/k'}}]", "issuers[0].jwks_uri", "must begin with https"),
        ("issuers: [{name: c, issuer: http://a.test, audience: [a]}]", "issuers[0].issuer", "must begin with https"),
        ("issuers: [{name: 'a:b', issuer: https://a.test, audience: [a]}]", "issuers[0].name", "must not hold a colon"),
        (f"issuers: [{{{GOOD}, tenant: ackme}}]\ntenants: [{{name: acme}}]", "issuers[0].tenant", "did you mean acme?"),
        (f"issuers: [{{{GOOD}, claims: {{tenant: t}}, tenants: [x]}}]", "issuers[0].tenants[0]", "is no tenant"),
        (f"issuers: [{{{GOOD}, members: listed}}]", "issuers[0].members", "needs a tenant"),
        (f"issuers: [{{{GOOD}, audiense: [a]}}]", "issuers[0].audiense", "did you mean audience?"),
        (f"issuers: [{{{GOOD}, models: [lama]}}]\n{MODEL}", "issuers[0].models[0]", "did you mean llama?"),
        (f"issuers: [{{{GOOD}, paths: []}}]", "issuers[0].paths", "at least one"),
        (f"issuers: [{{{GOOD}, paths: [/x]}}]", "issuers[0].paths[0]", "/v1/"),
        (f"issuers: [{{{GOOD}, networks: [here]}}]", "issuers[0].networks[0]", "10.0.0.0/8"),
        (f"issuers: [{{{GOOD}, data_class: P3}}]", "issuers[0].data_class", "must be"),
        ("tenants: [{name: a, token_scope: {networks: []}}]", "tenants[0].token_scope.networks", "at least one"),
        (f"{MODEL}\ntenants: [{{name: a, token_models: [x]}}]", "tenants[0].token_models[0]", "is no model"),
        (
            f"{MODEL}\ntenants: [{{name: a, users: [{{name: u, token_models: [x]}}]}}]",
            "tenants[0].users[0].token_models[0]",
            "is no model",
        ),
        (ADMIN.replace("GRANT", ""), "control.issuers[0].grants", "at least one"),
        (
            ADMIN.replace("GRANT", "{scope: a, role: developer}"),
            "control.issuers[0].grants[0].tenant",
            "is held in a tenant",
        ),
        (
            ADMIN.replace("GRANT", "{scope: a, role: admin, tenant: acme}"),
            "control.issuers[0].grants[0].tenant",
            "has no effect",
        ),
        (ADMIN.replace("GRANT", "{scope: a, role: root}"), "control.issuers[0].grants[0].role", "must be"),
    ],
)
def test_a_mistake_is_shown_where_it_stands(text: str, path: str, words: str) -> None:
    found = mistakes(text)
    assert any(where == path and words in sentence for where, sentence in found), found


@pytest.mark.parametrize(
    "text",
    [
        f"issuers: [{{{GOOD}}}]",
        f"issuers: [{{{GOOD}}}]\nlisten: {{host: 0.0.0.0}}",  # every request needs a token then
        f"issuers: [{{{GOOD}, tenant: of-the-database}}]\ncontrol: {{}}",
        f"issuers: [{{{GOOD}}}]\n{ADMIN.replace('GRANT', '{scope: a, role: admin}')}",  # one provider, two audiences
        ADMIN.replace("GRANT", "{scope: a, role: tenant-admin, tenant: acme}"),
        "issuers: [{name: c, issuer: 'http://127.0.0.1:1', audience: [a], allow_hosts: [127.0.0.1]}]",
    ],
)
def test_what_is_sound_has_no_mistakes(text: str) -> None:
    assert mistakes(text) == []


def test_one_mistake_is_told_once() -> None:
    assert len(mistakes(f"issuers: [{{{GOOD}, algorithms: [HS256, RS256], leeway: x}}]")) == 2


def test_a_token_of_a_tenant_may_not_meet_more_limits_than_can_hold() -> None:
    budgets = ", ".join(f"{{name: b{n}, tokens: 1}}" for n in range(3))
    rates = ", ".join(f"{{most: 1, window: {n + 1}}}" for n in range(11))
    owner = f"budgets: [{budgets}], limits: [{rates}]"
    tenants = f"tenants: [{{name: acme, {owner}, teams: [{{name: t, {owner}}}], users: [{{name: u, {owner}}}]}}]"
    assert mistakes(tenants) == [], "no key meets them together"
    found = mistakes(f"{tenants}\nissuers: [{{{GOOD}, tenant: acme}}]")
    assert [path for path, _ in found] == ["tenants[0]", "tenants[0]"]
    assert "9 budgets" in found[0][1]
    assert "33 limits" in found[1][1]


def test_the_algorithms_are_those_that_are_implemented() -> None:
    assert get_args(Algorithm) == tuple(KINDS)


def test_the_schema_knows_issuers() -> None:
    assert "issuers" in settings_schema()["$defs"]["Settings"]["properties"]
    assert Settings().issuers == ()
