"""Nobody but the administrator says which host is asked (SSRF): every route is behind a credential and the egress
rules, and no spelling of a URL in any part of a request opens a connection to it."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from backends.http.networks import AddressRule
from backends.http.resolver import AresQuery, Resolver
from fastpath.endpoints.paths import OPEN_PATHS, PATHS, ApiPath
from fastpath.settings import Endpoint, Key, Model, Settings
from fastpath.settings.pepper import make_pepper
from fastpath.settings.syntax import check_url
from fastpath.settings.token import KeyHasher
from loadtest.residency.traps import Names, Trap
from loadtest.rig import Bench, post
from loadtest.rig.bench import make_settings
from scheduler.clock import SystemClock

TRAP = "127.0.0.66"
#: Ways to write a place that nobody may lead us to: @ is its port. Hosts are the trap's, this machine's and a cloud's
#: metadata service, in every notation that some parser takes.
SPELLINGS = [
    "http://127.0.0.66:@/v1", "http://127.0.0.66:@", "HTTP://127.0.0.66:@/", "http://2130706498:@/", "http://0x7f000042:@/",
    "http://0177.0.0.0102:@/", "http://0x7f.0.0.66:@/", "http://127.66:@/", "http://127.0.66:@/", "http://017700000102:@/",
    "http://[::ffff:127.0.0.66]:@/", "http://[::ffff:7f00:42]:@/", "http://[0:0:0:0:0:ffff:127.0.0.66]:@/",
    "http://[::127.0.0.66]:@/", "http://[64:ff9b::127.0.0.66]:@/", "http://[::1]:@/", "http://[::]:@/", "http://0:@/",
    "http://0.0.0.0:@/", "http://localhost:@/", "http://LOCALHOST:@/", "http://localhost.:@/", "http://127.0.0.66.:@/",
    "http://user@127.0.0.66:@/", "http://user:pass@127.0.0.66:@/", "http://api.example.com@127.0.0.66:@/",
    "http://api.example.com#@127.0.0.66:@/", "http://127.0.0.66:@#.example.com/", "http://127.0.0.66:@?x=api.example.com",
    "http://api.example.com\\@127.0.0.66:@/", "http://127.0.0.66:@\\.example.com/", "http:\\\\127.0.0.66:@/",
    "http:/127.0.0.66:@/", "http:127.0.0.66:@/", "//127.0.0.66:@/", "///127.0.0.66:@/", "/\\127.0.0.66:@/",
    "127.0.0.66:@",
    "http://127.0.0.66:@/v1/../admin", "http://127.0.0.66:@/%2e%2e/", "http://127.0.0.66:@%2f", "http://%31%32%37.0.0.66:@/",
    "http://127.0.0.66%00.example.com:@/", "http://127.0.0.66%0d%0ahost:%20x:@/", "http://127。0。0。66:@/",
    "http://①②⑦.⓪.⓪.⑥⑥:@/", "http://127.0.0.66\t:@/", " http://127.0.0.66:@/", "http://127.0.0.66:@ /",
    "http://127.0.0.66.nip.io:@/", "http://169.254.169.254/latest/meta-data", "http://[::ffff:169.254.169.254]/",
    "http://[fd00:ec2::254]/latest", "http://2852039166/latest", "http://0xa9fea9fe/", "http://metadata.google.internal/",
    "http://100.100.100.200/", "http://[fe80::1%25lo]:@/", "gopher://127.0.0.66:@/_x", "file:///etc/passwd",
    "ftp://127.0.0.66:@/", "dict://127.0.0.66:@/", "ws://127.0.0.66:@/", "unix:///var/run/docker.sock", "jar:http://127.0.0.66:@!/",
]  # fmt: skip
#: Where gateways have taken hosts from callers.
HEADERS = (
    "host", "x-forwarded-host", "x-portkey-custom-host", "x-portkey-azure-resource-name", "x-base-url", "x-api-base",
    "x-original-url", "x-rewrite-url", "forwarded", "x-fastpath-endpoint", "x-upstream", "referer", "origin",
)  # fmt: skip
FIELDS = ("api_base", "base_url", "custom_host", "endpoint", "url", "azure_endpoint", "webhook", "callback_url")


def test_there_are_sixty() -> None:
    assert len(set(SPELLINGS)) >= 60


async def test_no_part_of_a_request_says_where_it_goes(bench: Bench) -> None:
    trap, home = Trap(), await bench.mock()
    port = await trap.start(TRAP)
    names = await Names.start(lambda host: [TRAP])
    endpoint = Endpoint(url=home.url, tier="L1")
    served = await bench.serve(
        make_settings([Model(name="*", endpoints=(endpoint,))], local_networks=("127.0.0.1/32",), data_class="P0")
    )
    app: Any = served.gateway.app
    app._resolver.configure(AresQuery((f"127.0.0.1:{names.port}",)), 0.0, 0.0)
    for i, spelling in enumerate(SPELLINGS):
        url = spelling.replace("@/", f"{port}/") if spelling.endswith("@/") else spelling.replace(":@", f":{port}")
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": url}]
        body = {"model": url, "messages": [{"role": "user", "content": content}], **dict.fromkeys(FIELDS, url)}
        requests = [post(body)]
        if url.isascii() and url.isprintable():
            requests.append(post(body, headers=[(HEADERS[i % len(HEADERS)], url)]))
            requests.append(post(body, headers=[(HEADERS[(i + 5) % len(HEADERS)], url)]))
            requests.append(post(body, url.replace(" ", "")))
            requests.append(post(body, f"{url.replace(' ', '')}/chat/completions"))
        for request in requests:
            client = await served.open()
            client.send(request)
            await asyncio.wait_for(client.until(lambda: len(client.reader.done) > 0 or client.ended.done()), 5)  # noqa: B023
            client.leave()
    assert home.asked >= len(SPELLINGS), "or nothing was tried"
    assert trap.connections == 0
    assert names.asked == []
    names.close()
    trap.close()


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_an_endpoint_in_such_a_spelling_is_refused_or_judged_by_its_address(spelling: str) -> None:
    """Local networks without the trap: what the settings let pass is stopped at its address."""
    url = spelling.replace("@/", "9/") if spelling.endswith("@/") else spelling.replace(":@", ":9")
    if check_url(url) is not None:
        return
    names = await Names.start(lambda host: [TRAP])
    resolver = Resolver(AresQuery((f"127.0.0.1:{names.port}",)), SystemClock())
    try:
        addresses = await resolver.addresses(urlsplit(url).hostname or "")
    except OSError:
        return
    finally:
        names.close()
        await resolver.close()
    rule = AddressRule(("127.0.0.2/32", "10.0.0.0/8"))
    assert rule.objection(addresses) is not None, (url, addresses)
    assert AddressRule(public_only=True).objection(addresses) is not None, (url, addresses)


def settings_with(bench_folder: Path, endpoint: Endpoint) -> Settings:
    hasher = KeyHasher(make_pepper(bench_folder / "state"))
    keys = (Key(name="k", hash=hasher.hash_text("k")),)
    model = Model(name="llama", endpoints=(endpoint,))
    return make_settings([model], keys=keys, data_class="P0", state_dir=str(bench_folder / "state"))


def request_of(path: ApiPath, *headers: tuple[str, str]) -> bytes:
    template = path.template.replace("{id}", "llama")
    if path.body in ("none", "lookup"):
        return post(b"", template, method=path.method, headers=headers)
    if path.body == "multipart":
        part = 'content-disposition: form-data; name="model"\r\n\r\nllama\r\n'
        body = f"--b\r\n{part}--b--\r\n".encode()
        return post(body, template, headers=[("content-type", "multipart/form-data; boundary=b"), *headers])
    fields = {
        "messages": [{"role": "user", "content": "x"}],
        "prompt": "x",
        "input": "x",
        "max_tokens": 4,
        "query": "x",
    }
    return post({"model": "llama", **fields}, template, headers=headers)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.template)
async def test_every_route_is_behind_a_credential_and_the_egress_rules(
    bench: Bench, tmp_path: Path, path: ApiPath
) -> None:
    away = await bench.mock()
    served = await bench.serve(settings_with(tmp_path, Endpoint(url=away.url)))
    for headers in ([], [("authorization", "Bearer wrong")]):
        reply = await served.ask(request_of(path, *headers))
        assert reply.status == (200 if path.template in OPEN_PATHS else 401)
    reply = await served.ask(request_of(path, ("authorization", "Bearer k")))
    assert reply.status == {"none": 200, "lookup": 404}.get(path.body, 503), reply.body
    assert path.body in ("none", "lookup") or b"data class P0" in reply.body
    assert away.asked == 0


async def test_a_route_under_another_spelling_does_not_exist(bench: Bench) -> None:
    away = await bench.mock()
    served = await bench.serve(make_settings([Model(name="*", endpoints=(Endpoint(url=away.url),))], data_class="P0"))
    spellings = ("/v1/proxy/chat/completions", "/V1/chat/completions", "/v1//chat/completions", "/v1/chat/completions/",
                 "/v1/./chat/completions", "/v1/%63hat/completions", "/v1/chat/completions;x",
                 "/chat/completions")  # fmt: skip
    for spelling in spellings:
        assert (await served.ask(post({"model": "m", "messages": []}, spelling))).status in (400, 404)
    assert away.asked == 0
