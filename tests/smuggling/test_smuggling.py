"""Nobody gets a request past the gateway that it did not see: both doors, real model servers, their own logs.

nginx, haproxy (an nginx behind it) and Node each log every request line that reaches them. What they logged is what the
gateway answered 2xx for, body by body; nothing that was hidden in a body, a chunk, a trailer or behind a refused
request is in any log. The cases are in cases.py and corpora.py, hyper's own decisions in hyper.py.
"""

import re
from collections import Counter

import pytest

from loadtest.rig.doors import DOORS
from tests.smuggling.cases import CASES
from tests.smuggling.course import Attempt, Course
from tests.smuggling.hyper import DECISIONS, HYPERS

WITNESSES = ("nginx", "hapro", "noded")
LINES = {"POST /v1/chat/completions HTTP/1.1", "POST /v1/audio/transcriptions HTTP/1.1"}
#: All that the gateway says to a model server about a request (docs/reference/http-api.md), framing included.
FIELDS = {
    "host", "user-agent", "accept-encoding", "accept", "content-type", "content-length", "transfer-encoding",
    "x-request-id", "traceparent",
}  # fmt: skip
#: Refusals behind which nobody knows where the next request begins.
BROKEN = re.compile(rb"not acceptable HTTP|broken_body|request_timeout")


def received(course: Course, attempt: Attempt) -> list[bytes]:
    """The bodies that the model server logged for the answers of one attempt, in the answers' order."""
    bodies = {seen.id: seen.body for seen in course.seen[attempt.witness]}
    return [bodies[id] for id in attempt.accepted]


def shown(attempt: Attempt) -> str:
    return f"{attempt.case.id} at {attempt.door} before {attempt.witness}: {attempt.shot.statuses} {attempt.shot.raw!r}"


@pytest.mark.parametrize("witness", WITNESSES)
def test_what_is_logged_is_what_was_accepted(course: Course, witness: str) -> None:
    accepted = Counter(id for each in course.attempts if each.witness == witness for id in each.accepted)
    assert sum(accepted.values()) > 300
    assert Counter(seen.id for seen in course.seen[witness]) == accepted
    assert {seen.line for seen in course.seen[witness]} <= LINES


def test_the_nginx_behind_haproxy_saw_the_same(course: Course) -> None:
    bodies = {seen.id: seen.body for seen in course.seen["hapro"]}
    assert len(course.behind) == len(bodies)
    assert {seen.id: seen.body for seen in course.behind} == bodies


@pytest.mark.parametrize("witness", WITNESSES)
def test_nothing_hidden_is_in_a_log(course: Course, witness: str) -> None:
    marks = {each.mark.decode(): each for each in course.attempts}
    text = course.logs[witness] + "".join(seen.body.decode("latin-1") for seen in course.seen[witness])
    found = {mark: shown(marks[mark]) for mark in set(re.findall(r"canary-\d{7}", text))}
    assert not found


def test_every_canary_was_sent(course: Course) -> None:
    """The search above finds what is there: most attempts hide something, each under its own mark."""
    hiding = [each for each in course.attempts if each.mark in each.shot.raw]
    assert len(hiding) > 9000
    assert len({each.mark for each in hiding}) == len(hiding)


@pytest.mark.parametrize("witness", WITNESSES)
def test_one_framing_field_and_no_other_way_to_say_it(course: Course, witness: str) -> None:
    for seen in course.seen[witness]:
        if seen.coding:
            assert (seen.coding, seen.length) == ("chunked", "")
        else:
            assert seen.length == str(len(seen.body))
        assert seen.names <= FIELDS, seen


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("id", [case.id for case in CASES])
def test_own_case(course: Course, door: str, id: str) -> None:
    for attempt in course.of(id, door):
        case, shot = attempt.case, attempt.shot
        assert shot.statuses in (case.statuses, *case.also), shown(attempt)
        assert not shot.garbage, shot.garbage
        assert tuple(received(course, attempt)) == attempt.bodies[: len(attempt.accepted)]
        local = id.startswith("body-of-get")  # the gateway's own answer, a list of models
        assert len(attempt.accepted) == shot.statuses.count(200) - local
        if door == "native" and BROKEN.search(shot.replies[-1].body):
            assert shot.closed, shown(attempt)


@pytest.mark.parametrize("door", DOORS)
def test_llhttp(course: Course, door: str) -> None:
    """A request stands behind each vector; it is served only where llhttp's own log says that one may stand there."""
    attempts = [each for each in course.attempts if each.door == door and each.case.id.startswith("llhttp-")]
    assert len(attempts) > 3 * 150
    for attempt in attempts:
        assert received(course, attempt) in ([], list(attempt.bodies)), shown(attempt)
    assert sum(len(each.accepted) for each in attempts) > 3 * 20


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("way", ["cl-te", "te-cl"])
def test_smuggler(course: Course, door: str, way: str) -> None:
    attempts = [e for e in course.attempts if e.door == door and e.case.id.startswith(f"smuggler-{way}-")]
    assert len(attempts) == 3 * 668
    for attempt in attempts:
        assert received(course, attempt) in ([], list(attempt.bodies)), shown(attempt)
    refused = [each for each in attempts if each.shot.statuses == (400,) and each.shot.closed]
    assert len(refused) > 3 * 650


def test_the_native_door_refuses_every_mutation_that_is_no_other_field(course: Course) -> None:
    sent = [each for each in course.attempts if each.door == "native" and each.case.id.startswith("smuggler-te-cl-")]
    served = {each.case.id for each in sent if each.accepted}
    assert served == {"smuggler-te-cl-underjoin1", "smuggler-te-cl-contentEnc"}
    other = {each.case.id for each in sent if each.shot.statuses != (400,)}
    assert other == served


def test_hyper_decides_nothing_else(course: Course) -> None:
    """Each line of the table is about a case that exists and that the native door answers otherwise."""
    assert set(DECISIONS) <= {case.id for case in CASES}
    for id in DECISIONS:
        ours = {each.shot.statuses for each in course.of(id, "native")}
        hypers = {each.shot.statuses for each in course.of(id, "granian")}
        if not DECISIONS[id].also:
            assert ours != hypers, id
    for id in HYPERS:
        assert not any(each.accepted for each in course.of(id, "native")), id
