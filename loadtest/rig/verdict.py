"""What a reply must be: complete, refused with an error object, or broken in-band. Assertions, nothing else."""

from loadtest.rig.reply import Reply


def assert_complete(reply: Reply, stream: bool) -> None:
    """A whole answer; of a stream, one [DONE] at its end and no error."""
    assert reply.status == 200, reply.body
    assert reply.whole
    if stream:
        assert reply.done == 1
        assert reply.events[-1] == b"[DONE]"
        assert reply.in_band is None
    else:
        assert reply.json["choices"][0]["finish_reason"] == "stop"


def assert_refused(reply: Reply, status: int, code: str) -> None:
    """An error answer with our request id; Retry-After with a 503 and only then."""
    assert reply.status == status, reply.body
    assert reply.error["code"] == code
    assert (reply.header("retry-after") is not None) == (status == 503)
    assert (reply.header("x-request-id") or "").startswith("req_")


def assert_broken(reply: Reply, code: str, frames: int | None = None) -> None:
    """A stream that ended with an in-band error behind so many frames: never [DONE], a clean end of the body."""
    assert reply.status == 200
    assert reply.whole
    assert reply.done == 0
    error = reply.in_band
    assert error is not None
    assert error["code"] == code, error
    if frames is not None:
        assert len(reply.frames) == frames + 1
