"""Webhooks of a settings file: what is wrong with one is told where it stands, and nothing of its secret."""

import pytest

from fastpath.settings.file import load
from fastpath.settings.problem import SettingsError

SECRET = "whsec_" + "A" * 44
GOOD = f"{{name: pager, url: https://hooks.example/x, secret: {SECRET}}}"


def webhooks(*hooks: str, allow: str = "") -> str:
    return f"control:\n  allow_hosts: [{allow}]\n  webhooks:\n" + "".join(f"    - {hook}\n" for hook in hooks)


def test_sound_ones_load() -> None:
    inside = GOOD.replace("https://hooks.example/x", '"http://127.0.0.1:9/x"')
    other = inside.replace("{", "{tenant: acme, ")
    loaded = load(webhooks(inside, other, allow="127.0.0.1"), {})
    assert loaded.control is not None
    assert [hook.tenant for hook in loaded.control.webhooks] == [None, "acme"]
    assert loaded.control.webhooks[0].secret.reveal() == SECRET


@pytest.mark.parametrize(
    ("hooks", "path", "words"),
    [
        ([GOOD.replace("https:", "http:")], "control.webhooks[0].url", "https://"),
        ([GOOD.replace(SECRET, "hunter2-hunter2")], "control.webhooks[0].secret", "whsec_"),
        ([GOOD.replace(SECRET, "whsec_c2hvcnQ=")], "control.webhooks[0].secret", "openssl"),
        ([GOOD, GOOD], "control.webhooks[1].name", "another webhook"),
        ([GOOD.replace("https://hooks.example/x", "file:///etc/passwd")], "control.webhooks[0].url", "http"),
        ([GOOD] * 17, "control.webhooks", "16"),
    ],
)
def test_a_mistake_is_told_where_it_stands(hooks: list[str], path: str, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(webhooks(*hooks), {})
    told = str(refused.value)
    assert path in told, told
    assert words in told
    assert "hunter2" not in told
