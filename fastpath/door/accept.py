"""Takes callers' connections off a listening socket, at the pace that the worker can bear.

Owns when to accept and when to leave callers in the kernel's queue, and the way from a descriptor to a transport. Does
not: know what a connection says. Bound to one loop; no Task per connection.
"""

import asyncio
import os
import resource
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from _native.transport import Poller
from scheduler.clock import Clock

#: Connections taken in one go, so that a flood of them leaves time for those that are served.
BATCH = 64
#: Of all descriptors, the part that callers may not use up: an admitted request needs one for its model server.
KEPT_FREE = 0.25
#: Seconds a TLS handshake may take, and a caller may take to answer the end of its TLS session.
HANDSHAKE_LIMIT = 10.0
FAREWELL_LIMIT = 2.0
#: Seconds between two lines that say that accepting pauses.
SAID_EVERY = 60.0


def descriptors_for_callers() -> int:
    """The descriptor number from which on callers wait."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else int(soft * (1 - KEPT_FREE))


class Acceptor:
    """Accepts on one socket, which it takes over, and makes a protocol for each connection.

    `room` gives how many more the door takes; those between accept and `connection_made` are counted here. `ceiling` is
    a descriptor number: from it on callers wait.
    """

    # `loop.create_server` accepts in C for 4 us less of 32 a connection (measured), and takes whatever comes in one go;
    # when descriptors run out it accepts and drops. Callers are to wait in the kernel's queue instead.

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        room: Callable[[], int],
        clock: Clock,
        *,
        poller: Poller | None = None,
        tls: ssl.SSLContext | None = None,
        ceiling: int | None = None,
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._protocol = protocol
        self._room = room
        self._clock = clock
        self._poller = poller if tls is None else None  # TLS stays with asyncio's transports
        self._loop = asyncio.get_running_loop()
        limits = (HANDSHAKE_LIMIT, FAREWELL_LIMIT) if tls is not None else (None, None)
        self._how: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": limits[0], "ssl_shutdown_timeout": limits[1]}
        self._ceiling = descriptors_for_callers() if ceiling is None else ceiling
        self._opening: set[Opening] = set()
        self._accepting = False
        self._scarce = False
        self._closed = False
        self._said = -SAID_EVERY

    @property
    def opening(self) -> int:
        """Connections accepted whose protocol has not heard of them yet (a TLS handshake runs)."""
        return len(self._opening)

    def resume(self) -> None:
        """Accepts again, if there is room. Cheap when nothing changes: called by every tick."""
        if self._accepting or self._closed or self._room() <= len(self._opening):
            return
        if self._scarce and not self._recovered():
            return
        self._accepting = True
        self._loop.add_reader(self._listener, self._accept_batch)

    def pause(self) -> None:
        """Leaves callers in the kernel's queue."""
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._listener)

    def close(self, *, empty: bool = False) -> None:
        """Accepts no more. `empty`: takes first what waits in this socket's own queue, which closing would reset."""
        self.pause()
        while empty and self._accept_one():
            pass
        self._closed = True
        self._listener.close()

    def abort(self) -> None:
        """Drops the connections that have not come to their protocol."""
        for opening in list(self._opening):
            opening.cancel()

    def _accept_batch(self) -> None:
        for _ in range(BATCH):
            if not self._accept_one():
                return

    def _accept_one(self) -> bool:
        """Whether there may be more. Pauses at a limit; the next tick tries again."""
        if self._room() <= len(self._opening):
            self.pause()
            return False
        try:
            channel, address = self._listener.accept()
        except BlockingIOError:
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            self._wait(error.strerror or str(error))
            return False
        if channel.fileno() >= self._ceiling:
            self._wait("few descriptors are left; raise the limit of open files")
        channel.setblocking(False)
        if self._poller is not None:
            self._poller.attach(channel.detach(), self._protocol(), address)
            return not self._scarce
        opening = Opening(self._loop.connect_accepted_socket(self._protocol, channel, **self._how), self._loop)
        opening.start(self._opening)
        return not self._scarce

    def _wait(self, reason: str) -> None:
        self._scarce = True
        self.pause()
        now = self._clock.monotonic()
        if now - self._said >= SAID_EVERY:
            self._said = now
            self._loop.call_exception_handler({"message": f"callers wait, accepting pauses: {reason}"})

    def _recovered(self) -> bool:
        """Whether callers may have a descriptor again: the kernel gives out the lowest free number."""
        try:
            lowest = os.dup(self._listener.fileno())
        except OSError:
            return False
        os.close(lowest)
        self._scarce = lowest >= self._ceiling
        return not self._scarce


class Opening:
    """One connection on its way to its protocol: `connect_accepted_socket`, driven by hand.

    It waits for one future only, so a Task around it does nothing but cost: 3 us of 35 for a connection, measured.
    """

    __slots__ = ("_among", "_coroutine", "_loop")

    def __init__(self, coroutine: Coroutine[Any, Any, object], loop: asyncio.AbstractEventLoop) -> None:
        self._coroutine = coroutine
        self._loop = loop
        self._among: set[Opening] | None = None

    def start(self, among: "set[Opening]") -> None:
        """Goes on until the protocol has its connection; is a member of `among` until then."""
        self._among = among
        among.add(self)
        self._step()

    def cancel(self) -> None:
        """Drops the connection."""
        if self._leave():
            self._coroutine.close()

    def _step(self, _: object = None) -> None:
        if self._among is None:
            return
        try:
            waiter = self._coroutine.send(None)
        except (StopIteration, OSError):  # it is open, or its caller left or spoke no TLS: no error of ours
            self._leave()
        except Exception as error:
            self._leave()
            self._loop.call_exception_handler({"message": "a connection could not be opened", "exception": error})
        else:
            waiter.add_done_callback(self._step)

    def _leave(self) -> bool:
        among, self._among = self._among, None
        if among is not None:
            among.discard(self)
        return among is not None
