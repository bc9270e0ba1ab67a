"""Good files load; bad files show every mistake where it stands, and never a value."""

from pathlib import Path

import pytest

from fastpath.settings import Endpoint, Key, Listen, Model, Settings, Timeouts, Tls
from fastpath.settings.file import SettingsError, load, read, validate
from fastpath.settings.pepper import PepperError
from fastpath.settings.secret import Secret

HASH = f"b2:01234567:{'ab' * 32}"
CANARY = "sk-canary-7f3a"
ONE = "models: [{name: m, endpoints: [{url: 'http://a/v1'}]}]\n"


def problems_of(text: str, **environ: str) -> list[tuple[int, int, str, str]]:
    with pytest.raises(SettingsError) as caught:
        load(text, environ)
    return [(p.line, p.column, p.path, p.message) for p in caught.value.problems]


def test_the_example_loads_once_hash_and_key_are_filled_in(example: str) -> None:
    settings = load(example, {"UPSTREAM_KEY": CANARY})
    assert settings.listen == Listen(host="127.0.0.1", port=8340)
    assert settings.keys == (Key(name="ci", hash=HASH, models=("llama",)),)
    first, second = settings.models[0].endpoints
    assert first == Endpoint(
        url="http://127.0.0.1:9001/v1", model="llama-3-8b", api_key=Secret(CANARY), tier="L1", weight=2
    )
    assert (second.model, second.weight, second.label) == (None, 1, "127.0.0.1:9002")


def test_the_example_as_printed_has_exactly_its_two_blanks(template: str) -> None:
    found = problems_of(template)
    assert [(line, column, path) for line, column, path, _ in found] == [
        (3, 22, "keys[0].hash"),
        (7, 71, "models[0].endpoints[0].api_key"),
    ]
    assert "fastpath keys hash" in found[0][3]
    assert "UPSTREAM_KEY" in found[1][3]


BAD = {
    "empty": ("", 1, 1, "", "empty"),
    "only a comment": ("# nothing\n", 1, 1, "", "empty"),
    "a list": ("- a\n- b\n", 1, 1, "", "not a list"),
    "a text": ("hello\n", 1, 1, "", "not text"),
    "not YAML": ("listen: {port: 1\nworkers: 2\n", 2, 8, "", "not valid YAML"),
    "two documents": ("workers: 1\n---\nworkers: 2\n", 2, 1, "", "second document"),
    "tab": ("listen:\n\tport: 1\n", 2, 1, "", "not valid YAML"),
    "tag": ("workers: !!python/object:os.system 1\n", 1, 10, "", "tags"),
    "control character": ("workers: 1\nstate_dir: a\x07\n", 2, 13, "", "control character"),
    "undefined alias": ("workers: 1\nstate_dir: *folder\n", 2, 12, "", "alias"),
    "recursive alias": ("keys: &a [*a]\n", 1, 11, "", "alias"),
    "unknown key": ("listen:\n  hots: 127.0.0.1\n", 2, 3, "listen.hots", "did you mean host?"),
    "unknown key at the top": ("model: []\n", 1, 1, "model", "did you mean models?"),
    "unknown key unlike any": ("zzz: 1\n", 1, 1, "zzz", "listen, workers"),
    "key twice": ("workers: 1\nworkers: 2\n", 2, 1, "workers", "twice"),
    "merge key": ("dns: {<<: {min_ttl: 1}}\n", 1, 7, "dns", "merge keys"),
    "key that is a list": ("? [a]\n: 1\n", 1, 3, "", "plain word"),
    "text for a number": ("workers: many\n", 1, 10, "workers", "whole number from 1 to 1024"),
    "quoted number": ('workers: "2"\n', 1, 10, "workers", "without quotes"),
    "fraction for a whole number": ("workers: 1.5\n", 1, 10, "workers", "whole number"),
    "underscore in a number": ("workers: 1_0\n", 1, 10, "workers", "whole number"),
    "number too large": ("listen: {port: 65536}\n", 1, 16, "listen.port", "from 0 to 65535"),
    "number of many digits": (f"workers: {'9' * 5000}\n", 1, 10, "workers", "from 1 to 1024"),
    "infinite number": ("timeouts: {idle: 1e999}\n", 1, 18, "timeouts.idle", "above 0"),
    "zero time-out": ("timeouts: {idle: 0}\n", 1, 18, "timeouts.idle", "above 0"),
    "number for a text": ("state_dir: 12\n", 1, 12, "state_dir", "put it in quotes"),
    "boolean for a text": ("log: {access: true}\n", 1, 15, "log.access", "put it in quotes"),
    "yes for a boolean": ("listen: {insecure: yes}\n", 1, 20, "listen.insecure", "true or false"),
    "nothing for a mapping": ("timeouts:\n", 1, 10, "timeouts", "leave the key out"),
    "nothing for a number": ("workers:\n", 1, 9, "workers", "is empty"),
    "mapping for a list": ("models: {name: a}\n", 1, 9, "models", "must be a list"),
    "list for a text": ("state_dir: [a]\n", 1, 12, "state_dir", "must be text, not a list"),
    "choice that is none": ("listen: {door: rsgi}\n", 1, 16, "listen.door", "auto, granian or native"),
    "host in brackets": ("listen: {host: '[::1]'}\n", 1, 16, "listen.host", "without brackets"),
    "host that is no address": ("listen: {host: 300.0.0.1}\n", 1, 16, "listen.host", "IP address"),
    "network with host bits": ("listen: {trusted_proxies: [10.0.0.1/8]}\n", 1, 28, "listen.trusted_proxies[0]", "bits"),
    "nameserver by name": ("dns: {nameservers: [dns.example]}\n", 1, 21, "dns.nameservers[0]", "IP address"),
    "nameserver port": ("dns: {nameservers: ['1.1.1.1:0']}\n", 1, 21, "dns.nameservers[0]", "port"),
    "one listener's port twice": ("listen: {admin_port: 8340}\n", 1, 22, "listen.admin_port", "other listener"),
    "open to all": ("listen: {host: 0.0.0.0}\n", 1, 16, "listen.host", "no keys are configured"),
    "certificate without a key": ("listen: {tls: {cert: a.pem}}\n", 1, 15, "listen.tls.key", "is missing"),
    "unix socket and a port": ("listen: {unix: /s, port: 9000}\n", 1, 26, "listen.port", "beside listen.unix"),
    "unix socket and TLS": ("listen: {unix: /s, tls: {cert: c, key: k}}\n", 1, 25, "listen.tls", "beside listen.unix"),
    "unix socket and proxies": (
        "listen: {unix: /s, trusted_proxies: [10.0.0.1]}\n",
        1,
        37,
        "listen.trusted_proxies",
        "beside listen.unix",
    ),
    "unix socket of its own each": (
        "listen: {unix: /s, reuse_port: true}\n",
        1,
        32,
        "listen.reuse_port",
        "beside listen.unix",
    ),
    "unix path too long": (f"listen: {{unix: /{'s' * 107}}}\n", 1, 16, "listen.unix", "at most 107 bytes"),
    "mode without quotes": ("listen: {unix: /s, unix_mode: 0660}\n", 1, 31, "listen.unix_mode", "put it in quotes"),
    "mode that is none": ("listen: {unix: /s, unix_mode: '777'}\n", 1, 31, "listen.unix_mode", "0600, 0660 or 0666"),
    "own sockets on granian": (
        "listen: {door: granian, reuse_port: true}\n",
        1,
        37,
        "listen.reuse_port",
        "needs the native door",
    ),
    "own sockets with TLS on auto": (
        "listen: {reuse_port: true, tls: {cert: c, key: k}}\n",
        1,
        22,
        "listen.reuse_port",
        "needs the native door",
    ),
    "own sockets behind PROXY": (
        "listen: {reuse_port: true, proxy_protocol: true}\n",
        1,
        22,
        "listen.reuse_port",
        "listen.proxy_protocol",
    ),
    "back-off above its maximum": ("retries: {backoff: 5}\n", 1, 20, "retries.backoff", "larger"),
    "body above the memory": ("limits: {memory: 40000000}\n", 1, 18, "limits.memory", "limits.response_body"),
    "key without a hash": ("keys:\n  - name: a\n", 2, 5, "keys[0].hash", "is missing"),
    "malformed hash": ("keys: [{name: a, hash: 'b2:12:34'}]\n", 1, 24, "keys[0].hash", "fastpath keys hash"),
    "model without endpoints": ("models: [{name: a, endpoints: []}]\n", 1, 31, "models[0].endpoints", "at least one"),
    "star inside a name": (ONE.replace("name: m", "name: 'm*'"), 1, 17, "models[0].name", "whole name"),
    "half a variable": ("state_dir: ${HOME\n", 1, 12, "state_dir", "${NAME}"),
    "variable that is no name": ("state_dir: ${a-b}\n", 1, 12, "state_dir", "${NAME}"),
    "variable that is not set": ("state_dir: a${NOPE}b\n", 1, 12, "state_dir", "NOPE"),
    "ca_file on http": (ONE.replace("/v1'", "/v1', ca_file: a"), 1, 62, "models[0].endpoints[0].ca_file", "no effect"),
    "path without /v1": (ONE.replace("/v1'", "/v1', paths: [x]"), 1, 61, "models[0].endpoints[0].paths[0]", "/v1/"),
    "two models of one name": (
        "models:\n- {name: m, endpoints: [{url: 'http://a/v1'}]}\n- {name: m, endpoints: [{url: 'http://b/v1'}]}\n",
        3,
        10,
        "models[1].name",
        "models[0].name",
    ),
    "two keys of one name": (
        f"keys:\n- {{name: k, hash: '{HASH}'}}\n- {{name: k, hash: '{HASH[:-1]}0'}}\n",
        3,
        10,
        "keys[1].name",
        "keys[0].name",
    ),
    "two keys of one hash": (
        f"keys:\n- {{name: k, hash: '{HASH}'}}\n- {{name: l, hash: '{HASH}'}}\n",
        3,
        19,
        "keys[1].hash",
        "keys[0].hash",
    ),
    "key for an unknown model": (
        f"{ONE.replace('name: m', 'name: llama')}keys: [{{name: k, hash: '{HASH}', models: [lama]}}]\n",
        2,
        113,
        "keys[0].models[0]",
        "did you mean llama?",
    ),
    "one endpoint twice": (
        "models:\n- name: m\n  endpoints:\n  - url: http://a:80/v1/\n  - url: http://A/v1\n",
        5,
        10,
        "models[0].endpoints[1].url",
        "models[0].endpoints[0]",
    ),
    "two endpoints of one label": (
        "models:\n- name: m\n  endpoints:\n  - url: http://a/v1\n  - {url: http://a/v1, model: n}\n",
        5,
        11,
        "models[0].endpoints[1].url",
        "its own name",
    ),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
def test_a_mistake_is_shown_where_it_stands(case: tuple[str, int, int, str, str]) -> None:
    text, *where, hint = case
    found = problems_of(text)
    assert [[*problem[:3]] for problem in found[:1]] == [where], found
    assert hint in found[0][3]


BAD_URLS = [
    "ftp://a/v1",
    "a/v1",
    "https://",
    "http:///v1",
    "http://u:p@a/v1",
    "http://a/v1?x=1",
    "http://a/v1?",
    "http://a/v1#f",
    "http://a:0/v1",
    "http://a:65536/v1",
    "http://a:/v1",
    "http://a:8o/v1",
    "http://[::1/v1",
    "http://[zz]/v1",
    "http://a b/v1",
    "http://a\\b/v1",
    "http://é/v1",
    "http://999.1.1.1/v1",
    "http://-a/v1",
    "http://a/../v1",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_bad_url_is_refused_and_not_repeated(url: str) -> None:
    found = problems_of(f"models: [{{name: m, endpoints: [{{url: '{url}'}}]}}]\n")
    assert [problem[:3] for problem in found] == [(1, 38, "models[0].endpoints[0].url")]
    assert url not in found[0][3]


@pytest.mark.parametrize(
    "url", ["https://api.example.com/v1", "http://[::1]:9/v1", "http://localhost", "http://a_b:1/x/"]
)
def test_a_good_url_is_taken_as_written(url: str) -> None:
    settings = load(f"models: [{{name: m, endpoints: [{{url: '{url}'}}]}}]\n", {})
    assert settings.models[0].endpoints[0].url == url


def test_every_mistake_comes_at_once_in_the_order_of_the_file() -> None:
    text = f"""\
listen: {{host: 0.0.0.0, prot: 1}}
workers: zero
keys:
  - {{name: a, hash: nope}}
  - {{name: a, hash: '{HASH}', models: [nothing]}}
models:
  - name: m
    endpoints:
      - {{url: "ftp://x", tier: L9, weight: -1}}
      - {{api_key: "${{GONE}}"}}
timeouts: {{idle: soon}}
"""
    assert [(line, path) for line, _, path, _ in problems_of(text)] == [
        (1, "listen.prot"),
        (2, "workers"),
        (4, "keys[0].hash"),
        (5, "keys[1].name"),
        (5, "keys[1].models[0]"),
        (9, "models[0].endpoints[0].url"),
        (9, "models[0].endpoints[0].tier"),
        (9, "models[0].endpoints[0].weight"),
        (10, "models[0].endpoints[1].url"),
        (10, "models[0].endpoints[1].api_key"),
        (11, "timeouts.idle"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "models: [{name: m, endpoints: [{url: '${S}'}]}]",
        "models: [{name: m, endpoints: [{url: 'http://a/v1', api_key: 'bad ${S}'}]}]",
        "models: [{name: m, endpoints: [{url: 'http://u:${S}@a/v1'}]}]",
        "models: [{name: m, endpoints: [{url: 'http://a/v1', tier: '${S}'}]}]",
        "workers: ${S}",
        "listen: {host: '${S} '}",
        "listen: {insecure: '${S}'}",
        "keys: [{name: k, hash: '${S}'}]",
        "models: [{name: '${S}', endpoints: [{url: 'http://a/v1'}]}]\n"
        "keys: [{name: k, hash: 'x', models: [sk-canary]}]",
        "models: [{name: m, endpoints: [{url: 'http://a/v1', api_key:sk-canary-7f3a}]}]",
        "models: [{name: m, endpoints: [{url: 'http://a/v1', api_key: *sk-canary-7f3a}]}]",
        "models: [{name: m, endpoints: [{url: 'http://a/v1', api_key: @sk-canary-7f3a}]}]",
        "models: [{name: m, endpoints: [{url: 'http://a/v1', api_key: !sk-canary-7f3a }]}]",
        "models: [{name: m, endpoints: [{url: 'http://a/v1', api_key: \"sk-canary-7f3a\\q\"}]}]",
        "models: [{name: m, endpoints: [{url: 'http://a/v1', api_key: [sk-canary-7f3a]}]}]",
    ],
)
def test_no_message_repeats_a_value(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(text, {"S": CANARY})
    shown = str(caught.value) + repr(caught.value) + repr(caught.value.problems)
    assert CANARY not in shown
    assert caught.value.__cause__ is None


def test_the_environment_fills_texts_numbers_and_booleans() -> None:
    text = "workers: ${N}\nlisten: {insecure: '${B}', port: '80${N}'}\ntimeouts: {idle: '${N}.5'}\nstate_dir: ${D}/x\n"
    settings = load(text, {"N": "3", "B": "true", "D": "/srv"})
    assert (settings.workers, settings.listen.insecure, settings.listen.port) == (3, True, 803)
    assert (settings.timeouts.idle, settings.state_dir) == (3.5, "/srv/x")


def test_a_doubled_dollar_stands_for_itself_and_nothing_is_filled_in_twice() -> None:
    assert load("state_dir: $${HOME}/${A}\n", {"A": "${B}", "B": "no"}).state_dir == "${HOME}/${B}"
    assert load("state_dir: a$b\n", {}).state_dir == "a$b"


def test_words_mean_what_yaml_1_2_says() -> None:
    settings = load(f"log: {{access: off}}\n{ONE.replace('name: m', 'name: 1:30')}", {})
    assert settings.log.access == "off"
    assert settings.models[0].name == "1:30"


def test_a_text_by_tag_or_quotes_may_look_like_a_number() -> None:
    text = ONE.replace("name: m", "name: '70'").replace("/v1'", "/v1', model: !!str 8")
    settings = load(text, {})
    assert (settings.models[0].name, settings.models[0].endpoints[0].model) == ("70", "8")


def test_a_model_inherits_the_time_outs_it_does_not_set() -> None:
    settings = load(ONE.replace("name: m", "name: m, timeouts: {idle: 5}") + "timeouts: {idle: 9, total: 77}\n", {})
    assert settings.timeouts == Timeouts(idle=9.0, total=77.0)
    assert settings.models[0].timeouts == Timeouts(idle=5.0, total=77.0)


def test_the_wildcard_model_makes_every_name_known_to_keys() -> None:
    text = ONE.replace("name: m", "name: '*'") + f"keys: [{{name: k, hash: '{HASH}', models: [anything]}}]\n"
    assert load(text, {}).keys[0].models == ("anything",)


def test_aliases_work() -> None:
    text = "timeouts: &t {idle: 5}\nmodels: [{name: m, timeouts: *t, endpoints: [{url: 'http://a/v1'}]}]\n"
    assert load(text, {}).models[0].timeouts == Timeouts(idle=5.0)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_keys(host: str) -> None:
    assert load(f"listen: {{host: '{host}'}}", {}).listen.host == host


def test_flags_win_over_the_file_and_meet_the_same_judge() -> None:
    text = "listen: {host: 0.0.0.0, port: 1}\nworkers: 2\n"
    settings = load(text, {}, overrides={"listen": {"insecure": True, "port": 5}, "state_dir": "/x${Y}"})
    assert (settings.listen.port, settings.listen.host, settings.workers) == (5, "0.0.0.0", 2)
    assert settings.state_dir == "/x${Y}"
    with pytest.raises(SettingsError) as caught:
        load("workers: 1\n", {}, overrides={"listen": {"host": "0.0.0.0"}})
    assert [(p.line, p.path) for p in caught.value.problems] == [(0, "listen.host")]
    assert str(caught.value).startswith("fastpath.yaml: listen.host: ")


def test_a_flag_cannot_hide_a_mistake_beside_it() -> None:
    with pytest.raises(SettingsError) as caught:
        load("listen: 5\n", {}, overrides={"workers": 3})
    assert [(p.line, p.path) for p in caught.value.problems] == [(1, "listen")]


def test_a_file_can_be_loaded_again_and_a_bad_one_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("workers: 1\n")
    first = read(path, {})
    path.write_text("workers: x\n")
    with pytest.raises(SettingsError, match=r"f\.yaml:1:10: workers: "):
        read(path, {})
    path.write_text("workers: 2\n")
    assert (first.workers, read(path, {}).workers) == (1, 2)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read(tmp_path / "none.yaml", {})
    with pytest.raises(SettingsError, match="Is a directory"):
        read(tmp_path, {})


def test_bytes_that_are_not_utf8_are_shown_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"workers: 1\nstate_dir: a\xff\n")
    with pytest.raises(SettingsError, match=r":2:13: is not UTF-8"):
        read(path, {})


def test_settings_made_in_python_meet_the_same_judge() -> None:
    good = Settings.for_upstream("http://127.0.0.1:1/v1", api_key=Secret(f"{CANARY}${{X}}"))
    assert validate(good) == good
    models = (Model(name="m", endpoints=(Endpoint(url=CANARY, weight=-1),)),)
    bad = Settings(listen=Listen(port=70000), models=models, state_dir="")
    with pytest.raises(SettingsError) as caught:
        validate(bad)
    paths = ["listen.port", "state_dir", "models[0].endpoints[0].url", "models[0].endpoints[0].weight"]
    assert [p.path for p in caught.value.problems] == paths
    assert CANARY not in str(caught.value)


def test_a_hash_of_another_pepper_is_refused_by_name_of_the_folder() -> None:
    text = f"state_dir: /srv/fp\nkeys: [{{name: k, hash: '{HASH}'}}]\n"
    assert load(text, {}, pepper=lambda folder: (str(folder), "01234567")).keys
    for pepper_id, hint in (("76543210", "another pepper"), (None, "has no pepper")):
        with pytest.raises(SettingsError) as caught:
            load(text, {}, pepper=lambda folder, found=pepper_id: (str(folder), found))
        (problem,) = caught.value.problems
        assert (problem.line, problem.column, problem.path) == (2, 24, "keys[0].hash")
        assert hint in problem.message
        assert "/srv/fp" in problem.message


def test_a_pepper_that_cannot_be_used_is_a_mistake_of_the_state_folder() -> None:
    def refuse(folder: str | None) -> tuple[str, str | None]:
        raise PepperError("chmod 600 it")

    with pytest.raises(SettingsError) as caught:
        load(f"state_dir: /srv\nkeys: [{{name: k, hash: '{HASH}'}}]\n", {}, pepper=refuse)
    assert [(p.line, p.path, p.message) for p in caught.value.problems] == [(1, "state_dir", "chmod 600 it")]


@pytest.mark.parametrize(
    "listen",
    [
        "{unix: /run/fastpath/door, unix_mode: '0660'}",
        "{unix: /run/fastpath/door, door: granian}",
        "{reuse_port: true}",
        "{reuse_port: true, door: native, tls: {cert: c, key: k}}",
        "{door: native, tls: {cert: c, key: k}}",
    ],
)
def test_ways_in_that_go_together(listen: str) -> None:
    load(f"listen: {listen}\n", {})


TLS = Tls(cert="c", key="k")


@pytest.mark.parametrize(
    ("listen", "forced", "door"),
    [
        (Listen(), None, "native"),
        (Listen(unix="/s"), None, "native"),
        (Listen(tls=TLS), None, "granian"),
        (Listen(tls=TLS, door="native"), None, "native"),
        (Listen(door="granian"), None, "granian"),
        (Listen(), "granian", "granian"),
        (Listen(tls=TLS), "native", "native"),
        (Listen(door="granian"), "native", "granian"),
        (Listen(door="native"), "granian", "native"),
    ],
)
def test_the_door_that_serves(listen: Listen, forced: str | None, door: str) -> None:
    assert listen.choose_door({"FASTPATH_DEBUG_DOOR": forced} if forced else {}) == door


def test_a_unix_socket_made_in_python_is_sound() -> None:
    settings = Settings(listen=Listen(unix="/run/door"))
    assert validate(settings) == settings
