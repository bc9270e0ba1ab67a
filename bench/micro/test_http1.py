"""The HTTP/1.1 parser: a caller's request, a model server's answer, and a chunked stream read by read."""

from _native.http1 import RequestParser, ResponseParser
from _native.reference import http1 as twin
from bench.micro.conftest import Contest
from bench.micro.shapes import ANSWER, STREAM_READS, request


def test_request(against_twin: Contest) -> None:
    data, parser = request(), RequestParser()

    def native() -> object:
        body = parser.feed(data)
        found = parser.method, parser.target, parser.fields, body
        parser.reset()
        return found

    def pure() -> object:
        found = twin.parse_request(data)
        return found.method, found.target, found.fields, found.body

    against_twin("http1 request", native, pure)


def test_answer(against_twin: Contest) -> None:
    parser = ResponseParser()

    def native() -> object:
        body = parser.feed(ANSWER)
        found = parser.status, parser.headers, body
        parser.reset()
        return found

    def pure() -> object:
        found = twin.parse(ANSWER)
        return found.status, found.headers, found.body

    against_twin("http1 answer", native, pure)


def test_stream(against_twin: Contest) -> None:
    parser, whole = ResponseParser(), b"".join(STREAM_READS)

    def native() -> object:
        body = b"".join(map(parser.feed, STREAM_READS))
        parser.reset()
        return body

    against_twin("http1 stream of 64 chunks", native, lambda: twin.parse(whole).body)
