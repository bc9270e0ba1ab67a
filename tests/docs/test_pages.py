"""What the documents say is there, is there; what is there, the documents say."""

import json
import re
import subprocess
import sys
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from _native.jsonlines import JsonLines
from fastpath.endpoints.paths import PATHS
from fastpath.observe.metrics import FAMILIES
from fastpath.record import DecisionRecord
from tests.docs.pages import HOME, blocks, links, name, pages

REFERENCE = HOME / "docs" / "reference"


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    assert [target for target in links(page) if not (page.parent / target).exists()] == []


def test_the_index_names_every_document() -> None:
    listed = {(HOME / "docs" / target).resolve() for target in links(HOME / "docs" / "index.md")}
    assert {page for page in pages() if page.parent != HOME} - {HOME / "docs" / "index.md"} <= listed


def test_every_error_code_is_documented_and_no_other() -> None:
    source = (HOME / "fastpath" / "errors.py").read_text()
    made = set(re.findall(r'GatewayError\(\s*\d+,\s*"(\w+)"', source)) | set(re.findall(r'code: str = "(\w+)"', source))
    listed = set(re.findall(r"^\| \d+ \| `(\w+)`", (REFERENCE / "errors.md").read_text(), re.MULTILINE))
    assert len(made) > 10
    assert listed == made


def test_every_metric_is_documented_with_its_labels() -> None:
    page = (REFERENCE / "metrics.md").read_text()
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        assert f"| `{family.name}` | {family.kind} | {labels} | {family.help} |" in page


def test_every_field_of_the_access_log_is_documented_and_no_other() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", (REFERENCE / "access-log.md").read_text(), re.MULTILINE)
    listed = [field for row in rows for field in re.findall(r"\w+", row)]
    lines = JsonLines()
    DecisionRecord("r", 0.0, "GET", "/", "").write_line(lines)
    assert sorted(listed) == sorted(json.loads(lines.take()))


def test_every_path_is_documented_with_its_method() -> None:
    page = (REFERENCE / "http-api.md").read_text()
    for path in PATHS:
        assert f"| `{path.template}` | {path.method} |" in page


def test_the_architecture_picture_is_an_image_with_a_title() -> None:
    root = ElementTree.parse(HOME / "docs" / "pictures" / "architecture.svg").getroot()
    assert root.tag.endswith("}svg")
    assert root[0].tag.endswith("}title")


def test_both_readmes_show_the_same_commands() -> None:
    english, chinese = (list(blocks(HOME / readme)) for readme in ("README.md", "README.zh-CN.md"))
    assert [(block.language, block.mark) for block in english] == [(block.language, block.mark) for block in chinese]


def test_the_example_of_embedding_serves(mock_process: Callable[..., Any]) -> None:
    model_server = mock_process("--model", "llama", "--tokens", "2")
    command = [sys.executable, "docs/examples/embed.py", model_server.url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=HOME, env={"PYTHONPATH": "."}, stdin=pipe, stdout=pipe, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        url = program.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{url}/models", timeout=10) as answer:
            assert answer.status == 200
        program.stdin.close()
        assert program.wait(20) == 0
