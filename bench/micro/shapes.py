"""What kernels are given: requests as the official client sends them, answers and streams as in the race. Pure."""

from bench.replay import plain_answer, stream_reads, write_request
from bench.stage.callers import MARK, make_body
from bench.stage.model_server import CHUNK, last_chunk

TOKEN = "fp-01234567-" + "89abcdef" * 8
EVENT = CHUNK.partition(b"\r\n")[2].removesuffix(b"\r\n")
"""One event of a stream, with the blank line that ends it."""
END = last_chunk(64).partition(b"\r\n")[2].removesuffix(b"\r\n0\r\n\r\n")
"""Usage and [DONE]."""
ANSWER = plain_answer()
STREAM_READS = stream_reads()


def body(name: str) -> bytes:
    """The body of one of the race's requests."""
    return make_body(name).replace(MARK.encode(), b"0" * len(MARK))


def request() -> bytes:
    """A whole request: 17 fields and 0.9 kB of body."""
    return write_request(TOKEN, make_body("request"), 7)
