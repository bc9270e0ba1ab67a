"""Tables go from the supervisor to a worker as sealed memory, tied to the message that they belong to."""

import os
import socket
from collections.abc import Iterator

import pytest

from _native.keytable import KeyTable, Row, build
from fastpath.process.tables import TablesError, open_line, send_tables, take_tables
from fastpath.publication.sealed import seal

PEPPER = "00000000"
Line = tuple[socket.socket, socket.socket]


@pytest.fixture
def line() -> Iterator[Line]:
    ends = open_line()
    yield ends
    for end in ends:
        end.close()


def table_of(count: int, base_root: bytes = b"") -> bytes:
    return build([Row(bytes([number] * 32), bytes(16)) for number in range(count)], PEPPER, base_root)


def sealed(data: bytes) -> int:
    return seal([data], "test").descriptor


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_arrives_is_what_was_sealed_and_stays_when_its_sender_lets_go(line: Line) -> None:
    before = open_descriptors()
    base = table_of(3)
    sent = [sealed(base), sealed(table_of(2, KeyTable.open(base).root))]
    send_tables(line[0], 7, sent)
    for descriptor in sent:
        os.close(descriptor)
    found = take_tables(line[1], 7, 2)
    assert [(len(table), table.is_delta) for table in found] == [(3, False), (2, True)]
    assert found[0].index_of(bytes([2] * 32)) == 2
    del found  # a map keeps a descriptor of its own
    assert open_descriptors() == before


def test_tables_of_messages_that_were_given_up_are_let_go(line: Line) -> None:
    before = open_descriptors()
    for number in (1, 2, 3):
        descriptor = sealed(table_of(number))
        send_tables(line[0], number, [descriptor])
        os.close(descriptor)
    assert len(take_tables(line[1], 3, 1)[0]) == 3
    assert open_descriptors() == before


def test_memory_that_its_sender_could_still_write_is_refused(line: Line) -> None:
    before = open_descriptors()
    descriptor = os.memfd_create("open", os.MFD_ALLOW_SEALING)
    os.write(descriptor, table_of(3))
    send_tables(line[0], 1, [descriptor])
    os.close(descriptor)
    with pytest.raises(ValueError, match="not sealed"):
        take_tables(line[1], 1, 1)
    assert open_descriptors() == before


@pytest.mark.parametrize("count", [0, 2])
def test_another_number_of_tables_than_was_told_is_refused(line: Line, count: int) -> None:
    descriptor = sealed(table_of(3))
    send_tables(line[0], 1, [descriptor])
    os.close(descriptor)
    with pytest.raises(TablesError, match="1 tables came"):
        take_tables(line[1], 1, count)


def test_tables_that_did_not_come_are_not_waited_for(line: Line) -> None:
    with pytest.raises(TablesError, match="did not come"):
        take_tables(line[1], 1, 1)
    line[0].close()
    with pytest.raises(TablesError, match="damaged"):
        take_tables(line[1], 1, 1)


def test_a_worker_that_takes_nothing_does_not_make_the_supervisor_wait(line: Line) -> None:
    descriptor = sealed(table_of(3))

    def fill() -> None:
        for number in range(100_000):
            send_tables(line[0], number, [descriptor])

    with pytest.raises(OSError, match=r"unavailable|many"):
        fill()
    os.close(descriptor)
