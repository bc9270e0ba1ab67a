"""A gateway with good and bad days behind it, and a real Prometheus that scrapes it."""

import json
import math
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from loadtest.ports import free_port
from tests.conftest import GatewayNode, Launcher, ModelServer
from tests.deploy.files import PROMETHEUS

PATIENCE = 60.0
SCRAPE = "500ms"

#: One request a day of one model, and a budget that the first answers use up, which nobody is refused for.
KEY = {
    "model_limits": [{"model": "narrow", "limits": [{"most": 1, "per": "day"}]}],
    "budgets": [{"amount": 0.0001, "hard": False}],
}
#: With nobody, for there is no such Redis: it works by the whole of its limits, and says that it is alone.
SHARED = {"redis": "redis://127.0.0.1:9/0"}
MODELS = [
    {"name": "llama", "endpoints": [{"name": "good"}, {"name": "dead"}], "price": {"input": 2.5, "output": 10}},
    {"name": "narrow", "endpoints": [{"name": "good", "model": "llama"}]},
    {"name": "lost", "endpoints": [{"name": "gone"}]},
    {"name": "moody", "endpoints": [{"name": "moody"}]},
    {"name": "moved", "endpoints": [{"name": "away"}], "fallbacks": ["llama"]},
]
#: An identity provider that never answers.
ISSUER = {"name": "gone", "issuer": "http://127.0.0.1:9", "audience": ["gateway"], "allow_hosts": ["127.0.0.1"]}


class Prometheus:
    """The Debian package's server, with the configuration of deploy/ pointed at one gateway."""

    def __init__(self, folder: Path, admin_url: str) -> None:
        self._folder = folder
        config = folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(_quickened(admin_url)))
        address = f"127.0.0.1:{free_port()}"
        self._url = f"http://{address}"
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen([*command, f"--web.listen-address={address}"], stderr=self._log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._log.close()

    def wait(self) -> None:
        """Until it can be asked."""
        end = time.monotonic() + PATIENCE
        while not self._is_ready():
            said = (self._folder / "log").read_text()
            assert self._process.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.05)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector that an expression gives; a number counts as a vector of one."""
        data = self.ask("query", query=expression)
        result: list[dict[str, Any]] = data["result"]
        return [{"metric": {}, "value": result}] if data["resultType"] == "scalar" else result

    def ask(self, path: str, **parameters: str) -> Any:
        """`data` of an answer of the HTTP API. Fails for an expression that Prometheus refuses."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{query}", timeout=PATIENCE) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            pytest.fail(f"{parameters}: {error.read().decode()}")

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=PATIENCE) as answer:
                return bool(answer.status == 200)
        except OSError:  # not listening yet, or 503
            return False


def numbers(vector: list[dict[str, Any]]) -> list[float]:
    """The values of a vector that are numbers: a quantile over nothing is none."""
    values = (float(sample["value"][1]) for sample in vector)
    return [value for value in values if not math.isnan(value)]


def _quickened(admin_url: str) -> dict[str, Any]:
    """deploy/prometheus/prometheus.yml, impatient and pointed at `admin_url`."""
    config: dict[str, Any] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE}
    config["rule_files"] = [str(PROMETHEUS / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [admin_url.removeprefix("http://")]
    return config


class Load:
    """Everything that the dashboard can show, in small numbers: answers, streams, failures, strangers."""

    def __init__(self, gateway: GatewayNode, mock: ModelServer, moody: ModelServer) -> None:
        self._gateway = gateway
        self._mock = mock
        self._moody = moody

    def round(self) -> None:
        """About a dozen requests, 0.1 s."""
        self._chat("llama", stream=True)
        self._chat("llama", stream=True)
        self._chat("llama")
        self._chat("narrow")
        self._chat("lost")
        self._chat("moved")
        self._chat("stranger")
        self._post("/v1/nowhere", {})
        self._post("/v1/chat/completions", {}, "no.such.token")
        self._moody.script({"usage": "none"}, times=1)
        self._chat("moody", stream=True)
        self._moody.script({"usage": "negative"}, times=1)
        self._chat("moody", stream=True)
        self._moody.script({"cut_after": 2}, times=1)
        self._chat("moody", stream=True)
        self._leave()

    def _chat(self, model: str, stream: bool = False) -> None:
        # Long enough for the mock's prefix cache to find what it met before.
        messages = [{"role": "user", "content": "Tell me about gateways. " * 20}]
        self._post("/v1/chat/completions", {"model": model, "stream": stream, "messages": messages})

    def _post(self, path: str, body: dict[str, Any], credential: str = "") -> None:
        request = urllib.request.Request(self._gateway.url.removesuffix("/v1") + path, json.dumps(body).encode())
        request.add_header("authorization", f"Bearer {credential or self._gateway.key}")
        request.add_header("content-type", "application/json")
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).read()
        except urllib.error.HTTPError as error:
            error.close()

    def _leave(self) -> None:
        """A caller that goes while its body is still expected."""
        host, port = re.findall(r"//([\d.]+):(\d+)", self._gateway.url)[0]
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        with socket.create_connection((host, int(port))) as caller:
            key = f"authorization: Bearer {self._gateway.key}\r\n"
            caller.sendall(f"{head}{key}content-length: 100\r\n\r\n{{".encode())


@pytest.fixture(scope="module")
def gateway(launch_for_module: Launcher, mock: ModelServer, moody: ModelServer) -> GatewayNode:
    """Two workers before a good endpoint, a dead one, a pool that is dead whole, and a server with moods; and a control
    process."""
    dead = "http://127.0.0.1:9/v1"
    urls = {"good": mock.url, "moody": moody.url, "dead": dead, "gone": dead, "away": dead}
    for model in MODELS:
        for endpoint in model["endpoints"]:
            assert isinstance(endpoint, dict)
            endpoint |= {"url": urls[endpoint["name"]], "api_key": "${UPSTREAM_KEY}", "tier": "L1"}
            if endpoint["name"] == "good":
                endpoint |= {"probe": {"interval": 1}, "load": {"engine": "vllm"}}
    settings = {"models": MODELS, "workers": 2, "key": KEY, "issuers": [ISSUER], "control": {"port": 0}}
    return launch_for_module.gateway({**settings, "shared": SHARED})


@pytest.fixture(scope="module")
def mock(launch_for_module: Launcher) -> ModelServer:
    return launch_for_module.mock("--model", "llama", "--tokens", "8", "--prefix-cache")


@pytest.fixture(scope="module")
def moody(launch_for_module: Launcher) -> ModelServer:
    return launch_for_module.mock("--model", "moody", "--tokens", "8")


@pytest.fixture(scope="module")
def prometheus(gateway: GatewayNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with Prometheus(tmp_path_factory.mktemp("prometheus"), gateway.admin_url) as server:
        server.wait()
        yield server


@pytest.fixture(scope="module")
def load(gateway: GatewayNode, mock: ModelServer, moody: ModelServer) -> Load:
    return Load(gateway, mock, moody)
