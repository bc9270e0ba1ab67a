"""`fastpath demo`: a gateway that answers at once, before anything was configured.

Owns: the mock model server as a child process, the look for model servers nearby, the requests it prints. Does not:
serve; the supervisor does. Concurrency: one thread; the supervisor's loop runs inside `run_demo`.
"""

import contextlib
import http.client
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from fastpath.process.supervisor import run

if TYPE_CHECKING:
    from fastpath.settings.source import SettingsSource

DEMO_MODEL: Final = "demo-model"
#: Where model servers listen when nobody says otherwise.
USUAL: Final = (("Ollama", 11434), ("vLLM", 8000), ("llama.cpp", 8080))
KEY_VARIABLE: Final = "FASTPATH_UPSTREAM_KEY"
_LOOK: Final = 1.0  # seconds that a model server nearby may take to list its models

Say = Callable[[str], None]


class DemoError(Exception):
    """The demo cannot start; the text says why."""


def run_demo(source_for: Callable[[str], "SettingsSource"], upstream: str | None, environ: Mapping[str, str]) -> int:
    """Serves until SIGTERM or SIGINT; gives the exit status. `source_for` makes settings that serve one URL.

    Raises DemoError, and SettingsError when `upstream` is no URL that can be served.
    """
    with contextlib.ExitStack() as stack:
        if upstream is None:
            url, model = stack.enter_context(mock_server()), DEMO_MODEL
            _say(notice(find_servers()))
        else:
            url, model = upstream, (list_models(upstream, environ.get(KEY_VARIABLE)) or ["MODEL"])[0]
        source = source_for(url)
        source()  # mistakes are shown before anything starts
        return run(source, say=_show_requests(model))


@contextlib.contextmanager
def mock_server() -> Iterator[str]:
    """The mock model server in a process of its own; gives its base URL. Raises DemoError when it cannot start."""
    command = [sys.executable, "-P", "-m", "backends.mock", "--model", DEMO_MODEL]
    # In its own process group: Ctrl-C reaches the gateway alone, which drains while the model server still answers.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise DemoError("the mock model server did not start")
            yield line.split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)


def find_servers(usual: Sequence[tuple[str, int]] = USUAL) -> list[tuple[str, str]]:
    """(name, base URL) of model servers that answer on their usual ports of this machine."""
    places = [(name, f"http://127.0.0.1:{port}/v1") for name, port in usual]
    return [(name, url) for name, url in places if list_models(url, None)]


def list_models(url: str, key: str | None) -> list[str]:
    """Names of the models that the server at base URL `url` lists; none when it does not answer within a second."""
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        connection = connect(parts.hostname or "", parts.port, timeout=_LOOK)
        with contextlib.closing(connection):
            connection.request("GET", f"{parts.path.rstrip('/')}/models", headers=headers)
            body = connection.getresponse().read(1 << 20)
        return [card["id"] for card in msgspec.json.decode(body, type=dict[str, Any])["data"]]
    except (OSError, http.client.HTTPException, ValueError, msgspec.MsgspecError, LookupError, TypeError):
        return []  # whatever listens there, it is no model server


def notice(found: Sequence[tuple[str, str]]) -> str:
    """What to know about the demo model, and which real ones could be used instead."""
    lines = ["demo model: its answers are made up, only their form is real"]
    lines += [f"a model server is on {name}'s port; to use it: make run UPSTREAM={url}" for name, url in found]
    return "\n".join(lines)


def requests_to_try(url: str, model: str) -> str:
    """A curl command and a Python program that get a streamed answer from the gateway at `url`."""
    return f"""
Try it:

  curl -N {url}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'

or in Python (pip install openai):

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="none")
  messages = [{{"role": "user", "content": "Hello"}}]
  for chunk in client.chat.completions.create(model="{model}", messages=messages, stream=True):
      print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="", flush=True)

Ctrl-C stops it.
"""


def _show_requests(model: str) -> Say:
    """Says the supervisor's lines, and after the one that names the gateway's URL the requests to try."""

    def say(line: str) -> None:
        _say(line)
        _, serving, rest = line.partition(" serving on ")
        if serving:
            _say(requests_to_try(rest.split()[0], model))

    return say


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
