"""The settings file that the tests of this room start from."""

import pytest

EXAMPLE = """\
listen: {host: 127.0.0.1, port: 8340}
keys:
  - {name: ci, hash: "<made by: fastpath keys hash>", models: [llama]}
models:
  - name: llama                     # the name callers use
    endpoints:
      - {url: "http://127.0.0.1:9001/v1", model: llama-3-8b, api_key: "${UPSTREAM_KEY}", tier: L1, weight: 2}
      - {url: "http://127.0.0.1:9002/v1", tier: L1}
"""


@pytest.fixture
def template() -> str:
    """The example of the README before its hash is filled in."""
    return EXAMPLE


@pytest.fixture
def example() -> str:
    """The same with a hash."""
    return EXAMPLE.replace("<made by: fastpath keys hash>", f"b2:01234567:{'ab' * 32}")
