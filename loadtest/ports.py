"""Ports for servers that must be told theirs before they start.

The port that bind(0) gives comes from the range that outgoing connections take theirs from: with thousands of them
beside, one is taken again before the server listens. So these are chosen below that range (32768 up, as Linux has it).
"""

import random
import socket
from contextlib import ExitStack, suppress

_RANGE = range(10_240, 32_768)
_RANDOM = random.SystemRandom()  # processes side by side must not choose alike


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody uses, all different. Raises OSError when there are not enough."""
    found: list[int] = []
    with ExitStack() as held:
        for port in _RANDOM.sample(_RANGE, len(_RANGE)):
            if len(found) == count:
                return found
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
    raise OSError(f"no {count} free ports of the loopback")


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
