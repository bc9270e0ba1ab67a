"""Takes callers' connections off a listening socket, at the pace that the worker can bear.

Owns when to accept and when to leave callers in the kernel's queue, and the way from a descriptor to a transport: on
our poller `_native.intake` goes it, and turns callers away when too many come. Does not: know what a connection says,
or an answer. Bound to one loop; no Task per connection.
"""

import asyncio
import os
import resource
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from _native.intake import Intake, Pace, Refusal
from _native.transport import Poller
from scheduler.clock import Clock

#: Connections taken in one go by the loop's own transports, so that a flood leaves time for those that are served.
BATCH = 64
#: Seconds of a turn for new connections on ours: a turn is over in half a millisecond, overloaded or not.
SLICE = 0.00025
#: Seconds that a queue must stand, and that those in it must wait at least, to be an overload. At twice of what can be
#: served they wait as long after 20 ms; a closed loop of 64 callers, who open a connection for each request, waits 3 to
#: 7 ms for ever and is none. A burst is given longer (see Overload).
STANDS = 0.1
#: And for how long it may stand in one before those in it are turned away: at nine tenths of what can be served one in
#: fifteen then is, and it ends; with none, in turns this short, one in four (measured).
PATIENCE = 0.0007
BEARABLE = 0.02
#: Of all descriptors, the part that callers may not use up: an admitted request needs one for its model server.
KEPT_FREE = 0.25
#: Seconds a TLS handshake may take, and a caller may take to answer the end of its TLS session.
HANDSHAKE_LIMIT = 10.0
FAREWELL_LIMIT = 2.0
#: Seconds between two lines that say that accepting pauses.
SAID_EVERY = 60.0

#: Request ids and addresses of callers who were turned away.
Callers = list[tuple[str, Any]]


def descriptors_for_callers() -> int:
    """The descriptor number from which on callers wait."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else int(soft * (1 - KEPT_FREE))


class Acceptor:
    """Accepts on one socket, which it takes over, and makes a protocol for each connection.

    `room` gives how many more the door takes; those between accept and `connection_made` are counted here. `ceiling` is
    a descriptor number: from it on callers wait. `turned_away` hears of those who were refused, as (request id,
    address), once `set_answers` has said with what; until then, and without a poller, all wait.
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
        turned_away: Callable[[Callers], None] | None = None,
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._protocol = protocol
        self._room = room
        self._clock = clock
        self._turned_away = turned_away
        self._loop = asyncio.get_running_loop()
        limits = (HANDSHAKE_LIMIT, FAREWELL_LIMIT) if tls is not None else (None, None)
        self._how: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": limits[0], "ssl_shutdown_timeout": limits[1]}
        self._ceiling = descriptors_for_callers() if ceiling is None else ceiling
        self._opening: set[Opening] = set()
        self._accepting = False
        self._scarce = False
        self._closed = False
        self._said = -SAID_EVERY
        self._intake: Intake | None = None
        if poller is not None and tls is None:  # TLS stays with asyncio's transports
            pace = Pace(self._ceiling, SLICE, PATIENCE, STANDS, BEARABLE)
            self._intake = Intake(poller, listener.fileno(), protocol, self, pace)

    def set_answers(self, first: tuple[bytes, ...], answers: tuple[tuple[bytes, Refusal], ...]) -> None:
        """first: beginnings of requests that are always served. answers: see `Intake.set_answers`."""
        if self._intake is not None:
            self._intake.set_answers(first, answers)

    def judge(self, data: bytes) -> tuple[str, bytes] | None:
        """Request id and answer for a caller who came while there was too much, and now sends this; None: serve it."""
        return self._intake.judge(data) if self._intake is not None else None

    @property
    def opening(self) -> int:
        """Connections accepted whose protocol has not heard of them yet (a TLS handshake runs)."""
        return len(self._opening)

    def resume(self) -> None:
        """Accepts again, if there is room. Cheap when nothing changes: called by every tick."""
        if self._accepting or self._closed or self.room() <= 0:
            return
        if self._scarce and not self._recovered():
            return
        self._accepting = True
        if self._intake is not None:
            self._intake.resume()
        else:
            self._loop.add_reader(self._listener, self._accept_batch)

    def pause(self) -> None:
        """Leaves callers in the kernel's queue."""
        if not self._accepting:
            return
        self._accepting = False
        if self._intake is not None:
            self._intake.pause()
        else:
            self._loop.remove_reader(self._listener)

    def ease(self) -> None:
        """Looks whether an overload is over; called by every tick."""
        if self._intake is not None and not self._closed:
            self._intake.ease()

    def close(self, *, empty: bool = False) -> None:
        """Accepts no more. `empty`: takes first what waits in this socket's own queue, which closing would reset."""
        self.pause()
        if self._intake is not None:
            if empty:
                self._intake.take_all()
            self._intake.close()
        while empty and self._intake is None and self._accept_one():
            pass
        self._closed = True
        self._listener.close()

    def abort(self) -> None:
        """Drops the connections that have not come to their protocol."""
        for opening in list(self._opening):
            opening.cancel()

    # -- what the intake asks

    def room(self) -> int:
        return self._room() - len(self._opening)

    def wait(self, reason: str) -> None:
        """Pauses until the kernel has descriptors again."""
        self._scarce = True
        self.pause()
        self._say(f"callers wait, accepting pauses: {reason}")

    def turned_away(self, callers: Callers) -> None:
        self._say("more callers come than this worker can serve, some are refused; more workers or machines would help")
        if self._turned_away is not None:
            self._turned_away(callers)

    # -- on the loop's own transports

    def _accept_batch(self) -> None:
        for _ in range(BATCH):
            if not self._accept_one():
                return

    def _accept_one(self) -> bool:
        """Whether there may be more. Pauses at a limit; the next tick tries again."""
        if self.room() <= 0:
            self.pause()
            return False
        try:
            channel, _ = self._listener.accept()
        except BlockingIOError:
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            self.wait(error.strerror or str(error))
            return False
        if channel.fileno() >= self._ceiling:
            self.wait("few descriptors are left; raise the limit of open files")
        channel.setblocking(False)
        opening = Opening(self._loop.connect_accepted_socket(self._protocol, channel, **self._how), self._loop)
        opening.start(self._opening)
        return not self._scarce

    def _say(self, text: str) -> None:
        now = self._clock.monotonic()
        if now - self._said >= SAID_EVERY:
            self._said = now
            self._loop.call_exception_handler({"message": text})

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
