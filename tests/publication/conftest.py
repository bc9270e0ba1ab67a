"""A control plane and a process of its node."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.publication.nodes import Node, Plane


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    plane = Plane(tmp_path)
    yield plane
    with suppress(OSError):  # a test may have closed it
        plane.publisher.close()


@pytest.fixture
def node(plane: Plane) -> Node:
    return Node(plane.path, plane.trust)
