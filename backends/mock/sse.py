"""Events and their bytes on the wire, with every deviation the format or a bad server allows. Pure functions."""

from collections.abc import Callable, Iterator
from itertools import islice

import msgspec

from backends.mock.fault import Fault

BOM = b"\xef\xbb\xbf"
DONE = b"[DONE]"
SSE = "text/event-stream; charset=utf-8"
LINES = "application/x-ndjson"


class Event(msgspec.Struct, frozen=True):
    """One server-sent event."""

    data: bytes
    """JSON, or `[DONE]`."""

    name: str | None = None
    """Value of the `event:` line, None for none."""

    step: int = 0
    """The token with which it is due (see pacing)."""

    tokens: int = 0
    """Generated tokens it carries."""

    content: tuple[int, str] | None = None
    """Choice and text it carries, for the record."""

    @property
    def is_done(self) -> bool:
        """Whether this is the `[DONE]` sentinel."""
        return self.data == DONE


def distort(events: Iterator[Event], fault: Fault, failure: Callable[[], Event]) -> Iterator[Event]:
    """The events with those changed, dropped or added that the fault names; `failure` makes the in-band error."""
    broken = fault.in_band_error is not None
    for index, event in enumerate(islice(events, fault.in_band_error)):
        if event.is_done and (fault.no_done or broken):
            continue
        yield _spoil(event) if index == fault.bad_json_event else event
        if event.is_done and fault.duplicate_done:
            yield event
    if broken:
        yield failure()


def _spoil(event: Event) -> Event:
    return msgspec.structs.replace(event, data=event.data[:-2])


def render(event: Event, fault: Fault, *, first: bool, last: bool) -> bytes:
    """Bytes of one event."""
    end = line_end(fault)
    lines = [b"event: " + event.name.encode()] if event.name else []
    lines += [b"data: " + line for line in _data_lines(event, fault)]
    blank = b"" if last and fault.no_blank_line else end
    head = (BOM if first and fault.bom else b"") + (comment(fault) if fault.comments else b"")
    return head + b"".join(line + end for line in lines) + blank


def render_line(event: Event, fault: Fault, *, first: bool, last: bool) -> bytes:
    """The same event as a line of JSON."""
    return (
        (BOM if first and fault.bom else b"") + event.data + (b"" if last and fault.no_blank_line else line_end(fault))
    )


def comment(fault: Fault) -> bytes:
    """A keep-alive comment."""
    end = line_end(fault)
    return b": keep-alive" + end + end


def line_end(fault: Fault) -> bytes:
    """The line end this stream uses."""
    return b"\r\n" if fault.crlf else b"\r" if fault.cr else b"\n"


def _data_lines(event: Event, fault: Fault) -> list[bytes]:
    if not fault.multi_line_data or event.is_done:
        return [event.data]
    return msgspec.json.format(event.data, indent=1).split(b"\n")


def mark_last(events: Iterator[Event]) -> Iterator[tuple[Event, bool]]:
    """Each event with whether it is the last one."""
    previous: Event | None = None
    for event in events:
        if previous is not None:
            yield previous, False
        previous = event
    if previous is not None:
        yield previous, True
