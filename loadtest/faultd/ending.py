"""How a socket is closed: reset, or an orderly FIN that no unread byte turns into a reset.

Owns the socket options. Does not decide which. Concurrency: one task per socket. Linux only (SIOCOUTQNSD).
"""

import asyncio
import fcntl
import socket
import struct

SIOCOUTQNSD = 0x894B
"""ioctl: bytes of the send queue that were not sent yet."""
GRACE_S = 1.0
"""Longest wait for the peer: to take what was forwarded before a reset, to answer a FIN before the close."""


def reset(sock: socket.socket) -> None:
    """Closes with a RST: what was not sent yet is thrown away."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def reset_when_sent(sock: socket.socket) -> None:
    """Resets once the forwarded bytes left this host's queue, so that a cut after n bytes delivers n bytes."""
    for _ in range(int(GRACE_S * 1000)):
        if not _unsent(sock):
            break
        await asyncio.sleep(0.001)
    reset(sock)


async def finish(sock: socket.socket) -> None:
    """Sends FIN, throws away what still comes until the peer's own FIN (or the grace), closes."""
    try:
        sock.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(GRACE_S):
            while await asyncio.get_running_loop().sock_recv(sock, 65536):
                pass
    except (OSError, TimeoutError):
        pass  # The peer is gone or will not go: closing is all that is left, in both cases.
    finally:
        sock.close()


def _unsent(sock: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), SIOCOUTQNSD, b"\0" * 4))[0])
