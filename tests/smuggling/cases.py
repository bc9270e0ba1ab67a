"""Own cases: requests that two parsers may read differently, with what the native door makes of them.

Pure data. `MODEL` and `CANARY-0000000` in a case are replaced by the model's name and by a mark of the shot, both of
the same length, so that every length in a case is final. The canary is only in bytes that must not be read as a
request.
"""

from dataclasses import dataclass

MODEL = b"MODEL"
CANARY = b"CANARY-0000000"
PATH = b"/v1/chat/completions"


def chat(text: bytes) -> bytes:
    return b'{"model":"' + MODEL + b'","messages":[{"role":"user","content":"' + text + b'"}]}'


#: The body of a request in plain sight, and of one behind it in plain sight as well.
FIRST = chat(b"in plain sight")
SECOND = chat(b"second in line")
N = b"%d" % len(FIRST)


def request(
    *fields: bytes, body: bytes = b"", line: bytes = b"POST " + PATH + b" HTTP/1.1", host: bool = True
) -> bytes:
    """A request with these field lines as they are, and nothing that was not asked for but Host."""
    lines = [line, *([b"Host: gateway"] if host else []), *fields]
    return b"".join(each + b"\r\n" for each in lines) + b"\r\n" + body


def sound(body: bytes) -> bytes:
    """A request that nothing is wrong with."""
    return request(b"Content-Type: application/json", b"Content-Length: %d" % len(body), body=body)


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


HIDDEN = sound(chat(CANARY))
NEXT = sound(SECOND)
TE = b"Transfer-Encoding: chunked"
CL = b"Content-Length: " + N
HALVES = chunked(FIRST[:7], FIRST[7:])
BOUNDARY = b"Content-Type: multipart/form-data; boundary=b"


@dataclass(frozen=True)
class Case:
    """statuses: of the answers on the connection, empty when they are of no interest, and `also` what they may be
    instead; bodies: what the model server gets, in order; methods: of the requests (HEAD's answer has no body)."""

    id: str
    raw: bytes
    statuses: tuple[int, ...] = (400,)
    bodies: tuple[bytes, ...] = ()
    methods: tuple[str, ...] = ("POST",)
    also: tuple[tuple[int, ...], ...] = ()


def refused(id: str, raw: bytes) -> Case:
    """400 and the end of the connection."""
    return Case(id, raw + HIDDEN)


def served(id: str, raw: bytes, body: bytes = FIRST) -> Case:
    """Served, and so is the next request on the connection."""
    return Case(id, raw + NEXT, (200, 200), (body, SECOND))


def framing(id: str, *fields: bytes, body: bytes = HALVES) -> Case:
    return refused(f"coding-{id}", request(*fields, body=body))


def length(id: str, value: bytes) -> Case:
    return refused(f"cl-{id}", request(b"Content-Length:" + value, body=FIRST))


def size(id: str, line: bytes) -> Case:
    """A chunk-size line that is none."""
    return refused(f"chunk-{id}", request(TE, body=line + b"\r\n" + FIRST + b"\r\n0\r\n\r\n"))


def raw_head(id: str, *fields: bytes) -> Case:
    return refused(f"head-{id}", request(*fields, CL, body=FIRST))


def line(id: str, start: bytes, *fields: bytes) -> Case:
    return refused(f"line-{id}", request(*fields, CL, line=start, body=FIRST))


X = b"%x" % len(FIRST)
ALL = len(HALVES + HIDDEN)
SINGLE = [FIRST[at : at + 1] for at in range(20, len(FIRST))]
HIDDEN_HEAD = HIDDEN[: HIDDEN.index(b"\r\n\r\n") + 4]
OTHER = b"Transfer_Encoding: chunked"
HTTP10 = b"POST " + PATH + b" HTTP/1.0"
KEEP = b"Connection: keep-alive"
BREAKS = b"?x=%0d%0aCANARY-0000000:%20y"

TRANSFER_ENCODING = (
    refused("coding-cl-te", request(b"Content-Length: %d" % ALL, TE, body=HALVES)),
    refused("coding-te-cl", request(TE, b"Content-Length: %d" % ALL, body=HALVES)),
    Case(
        "coding-hidden-in-a-chunk",
        request(b"Content-Length: 4", TE, body=b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n"),
    ),
    framing("twice", TE, TE),
    framing("then-identity", TE, b"Transfer-Encoding: identity"),
    framing("then-a-cow", TE, b"Transfer-encoding: cow"),
    framing("list-chunked-chunked", b"Transfer-Encoding: chunked, chunked"),
    framing("list-identity-chunked", b"Transfer-Encoding: identity, chunked"),
    framing("list-chunked-identity", b"Transfer-Encoding: chunked, identity"),
    framing("list-gzip-chunked", b"Transfer-Encoding: gzip, chunked"),
    framing("list-comma", b"Transfer-Encoding: chunked,"),
    framing("identity", b"Transfer-Encoding: identity", CL, body=FIRST),
    framing("empty", b"Transfer-Encoding:", CL, body=FIRST),
    framing("vertical-tab", b"Transfer-Encoding: \x0bchunked"),
    framing("vertical-tab-and-cl", b"Transfer-Encoding: \x0bchunked", b"Content-Length: %d" % ALL),
    framing("form-feed-behind", b"Transfer-Encoding: chunked\x0c"),
    framing("nul-behind", b"Transfer-Encoding: chunked\x00"),
    framing("high-byte-behind", b"Transfer-Encoding: chunked\xa0"),
    framing("quoted", b'Transfer-Encoding: "chunked"'),
    framing("parameter", b"Transfer-Encoding: chunked;q=1"),
    framing("prefix", b"Transfer-Encoding: xchunked"),
    framing("space-before-colon", b"Transfer-Encoding : chunked"),
    framing("tab-before-colon", b"Transfer-Encoding\t: chunked", b"Content-Length: %d" % ALL),
    framing("folded", b"Transfer-Encoding:\r\n chunked"),
    framing("folded-list", b"Transfer-Encoding: chunked\r\n , identity"),
    framing("behind-a-fold", b"X-Y: z\r\n Transfer-Encoding: chunked", b"Content-Length: %d" % ALL),
    framing("behind-a-bare-cr", b"X-Y: z\rTransfer-Encoding: chunked", b"Content-Length: %d" % ALL),
    framing("behind-a-bare-lf", b"X-Y: z\nTransfer-Encoding: chunked", b"Content-Length: %d" % ALL),
    refused("coding-on-1.0", request(TE, line=HTTP10, body=HALVES)),
    served("coding-any-case", request(b"tRaNsFeR-eNcOdInG: cHuNkEd", body=HALVES)),
    served("coding-tab", request(b"Transfer-Encoding:\tchunked\t ", body=HALVES)),
    # A field of another name is no framing: the length rules, and the chunks are a body that is not JSON.
    Case("coding-underscore", request(OTHER, b"Content-Length: %d" % ALL, body=HALVES + HIDDEN)),
)  # fmt: skip

CONTENT_LENGTH = (
    length("plus", b" +" + N),
    length("minus", b" -" + N),
    length("list-same", b" " + N + b", " + N),
    length("list-other", b" " + N + b",0"),
    length("overflow-64", b" %d" % (2**64 + len(FIRST))),
    length("overflow-63", b" %d" % (2**63 + len(FIRST))),
    length("hex", b" 0x" + X),
    length("exponent", b" 1e2"),
    length("fraction", b" " + N + b".0"),
    length("space-inside", b" " + N[:1] + b" " + N[1:]),
    length("underscore", b" " + N[:1] + b"_" + N[1:]),
    length("empty", b""),
    length("vertical-tab", b" " + N + b"\x0b"),
    length("nul", b" " + N + b"\x00"),
    length("other-digits", b" " + "٨٨".encode()),
    length("quoted", b' "' + N + b'"'),
    length("semicolon", b" " + N + b";x"),
    refused("cl-twice-same", request(CL, CL, body=FIRST)),
    refused("cl-twice-other", request(CL, b"Content-Length: 0", body=FIRST)),
    refused("cl-twice-other-case", request(b"Content-Length: 0", b"content-length: " + N, body=FIRST)),
    refused("cl-space-before-colon", request(b"Content-Length : " + N, body=FIRST)),
    refused("cl-folded", request(b"Content-Length:\r\n " + N, body=FIRST)),
    refused("cl-nul-in-name", request(b"Content-\x00Length: " + N, body=FIRST)),
    served("cl-leading-zeros", request(b"Content-Length: 00" + N, body=FIRST)),
    served("cl-tabs", request(b"Content-Length:\t" + N + b" \t", body=FIRST)),
    # No length, no chunks: no body. What follows is the next request, and it is none.
    Case("cl-none", request(body=FIRST + HIDDEN), (400, 400)),
    Case("cl-other-name", request(b"Content_Length: " + N, body=FIRST + HIDDEN), (400, 400)),
)  # fmt: skip

CHUNKS = (
    size("prefix-0x", b"0x" + X),
    size("underscore", X[:1] + b"_" + X[1:]),
    size("plus", b"+" + X),
    size("minus", b"-" + X),
    size("leading-space", b" " + X),
    size("leading-tab", b"\t" + X),
    size("trailing-space", X + b" "),
    size("overflow-64", b"1" + b"0" * 14 + b"%02x" % len(FIRST)),
    size("overflow-far", b"1" + b"0" * 30 + X),
    size("empty", b""),
    size("comma", X + b",1"),
    size("word", X + b" x"),
    size("nul", X + b"\x00"),
    size("vertical-tab", X + b"\x0b"),
    size("bare-cr", X + b"\r"),
    size("extension-bare-lf", X + b";a\nb"),
    size("extension-bare-cr", X + b";a\rb"),
    size("extension-open-quote", X + b';a="b'),
    size("extension-empty", X + b";"),
    refused("chunk-bare-lf", request(TE, body=X + b"\n" + FIRST + b"\r\n0\r\n\r\n")),
    refused("chunk-data-too-long", request(TE, body=X + b"\r\n" + FIRST + b"  \r\n0\r\n\r\n")),
    refused("chunk-data-ends-lf", request(TE, body=X + b"\r\n" + FIRST + b"\n0\r\n\r\n")),
    refused("chunk-data-ends-cr-cr", request(TE, body=X + b"\r\n" + FIRST + b"\r\r\n0\r\n\r\n")),
    refused("chunk-last-bare-lf", request(TE, body=X + b"\r\n" + FIRST + b"\r\n0\n\n")),
    served("chunk-extension", request(TE, body=X + b';a=b;c="d;e"\r\n' + FIRST + b"\r\n0;f\r\n\r\n")),
    served("chunk-upper-case-zeros", request(TE, body=b"00" + X.upper() + b"\r\n" + FIRST + b"\r\n000\r\n\r\n")),
    served("chunk-single-bytes", request(TE, body=chunked(FIRST[:20], *SINGLE))),
)  # fmt: skip


def trailer(id: str, lines: bytes) -> Case:
    return served(f"trailer-{id}", request(TE, body=chunked(FIRST, end=b"0\r\n" + lines + b"\r\n")))


TRAILERS = (
    trailer("plain", b"X-Sum: 1\r\n"),
    trailer("content-length", b"Content-Length: 5\r\n"),
    trailer("transfer-encoding", b"Transfer-Encoding: identity\r\nHost: other\r\n"),
    trailer("authorization", b"Authorization: Bearer CANARY-0000000\r\nConnection: close\r\n"),
    refused("trailer-bare-lf", request(TE, body=chunked(FIRST, end=b"0\r\nX: y\n\r\n"))),
    refused("trailer-nul", request(TE, body=chunked(FIRST, end=b"0\r\nX: \x00\r\n\r\n"))),
    refused("trailer-is-a-request", request(TE, body=chunked(FIRST, end=b"0\r\n" + HIDDEN_HEAD))),
    refused("trailer-folded", request(TE, body=chunked(FIRST, end=b"0\r\n X: y\r\n\r\n"))),
)  # fmt: skip

HEADS = (
    raw_head("bare-lf", b"X: y\nZ: w"),
    raw_head("bare-cr", b"X: y\rZ: w"),
    raw_head("cr-cr-lf", b"X: y\r"),
    raw_head("nul-in-value", b"X: \x00"),
    raw_head("nul-in-name", b"X\x00: y"),
    raw_head("control-in-value", b"X: \x01"),
    raw_head("delete-in-value", b"X: \x7f"),
    raw_head("space-in-name", b"X Y: z"),
    raw_head("slash-in-name", b"X/Y: z"),
    raw_head("brackets-in-name", b"X[Y]: z"),
    raw_head("high-byte-in-name", b"X\xe9: z"),
    raw_head("no-name", b": z"),
    raw_head("no-colon", b"X"),
    raw_head("folded", b"X: y\r\n z"),
    raw_head("folded-empty", b"X: y\r\n "),
    refused("head-first-line-folded", b"POST " + PATH + b" HTTP/1.1\r\n Host: gateway\r\n" + CL + b"\r\n\r\n" + FIRST),
    refused("head-all-bare-lf", request(CL).replace(b"\r\n", b"\n") + FIRST),
    refused("head-ends-lf-crlf", request(CL)[:-4] + b"\n\r\n" + FIRST),
    refused("head-ends-crlf-cr", request(CL)[:-1] + FIRST),
    served("head-high-byte-in-value", request(b"X: \xe9\xff", CL, body=FIRST)),
    served("head-empty-value", request(b"X:", b"X: ", CL, body=FIRST)),
    served("head-many-spaces", request(b"X:  \t y z \t", CL, body=FIRST)),
    served("connection-nominates-framing", request(b"Connection: content-length, host, te", CL, body=FIRST)),
    served("connection-nominates-transfer-encoding", request(b"Connection: transfer-encoding", TE, body=HALVES)),
    served("connection-nominates-the-key", request(b"Connection: x-request-id, authorization", CL, body=FIRST)),
    Case("connection-close", request(b"Connection: x, CLOSE", CL, body=FIRST) + HIDDEN, (200,), (FIRST,)),
    served("proxy-connection-close", request(b"Proxy-Connection: close", CL, body=FIRST)),
)  # fmt: skip

LINES = (
    line("version-0.9", b"POST " + PATH),
    line("version-0.9-told", b"POST " + PATH + b" HTTP/0.9"),
    line("version-1.2", b"POST " + PATH + b" HTTP/1.2"),
    line("version-1.10", b"POST " + PATH + b" HTTP/1.10"),
    line("version-01.1", b"POST " + PATH + b" HTTP/01.1"),
    line("version-2.0", b"POST " + PATH + b" HTTP/2.0"),
    line("version-lower-case", b"POST " + PATH + b" http/1.1"),
    line("version-space-behind", b"POST " + PATH + b" HTTP/1.1 "),
    line("version-other", b"POST " + PATH + b" HTTPS/1.1"),
    refused("line-http2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
    refused("line-http0.9", b"GET " + PATH + b"\r\n"),
    line("two-spaces", b"POST  " + PATH + b" HTTP/1.1"),
    line("two-spaces-behind", b"POST " + PATH + b"  HTTP/1.1"),
    line("tab", b"POST\t" + PATH + b" HTTP/1.1"),
    line("space-first", b" POST " + PATH + b" HTTP/1.1"),
    line("method-not-a-token", b"PO(ST " + PATH + b" HTTP/1.1"),
    line("method-nul", b"PO\x00ST " + PATH + b" HTTP/1.1"),
    line("target-fragment", b"POST " + PATH + b"#x HTTP/1.1"),
    line("target-control", b"POST " + PATH + b"?\x01 HTTP/1.1"),
    line("target-nul", b"POST " + PATH + b"?\x00 HTTP/1.1"),
    line("target-delete", b"POST " + PATH + b"?\x7f HTTP/1.1"),
    line("target-high-byte", b"POST " + PATH + b"?\xe9 HTTP/1.1"),
    line("target-space", b"POST " + PATH + b"?a b HTTP/1.1"),
    line("target-bare-cr", b"POST " + PATH + b"?a\rb HTTP/1.1"),
    line("target-relative", b"POST v1/chat/completions HTTP/1.1"),
    line("target-authority", b"CONNECT gateway:80 HTTP/1.1"),
    line("target-star", b"POST * HTTP/1.1"),
    line("absolute-other-host", b"POST http://other" + PATH + b" HTTP/1.1"),
    line("absolute-user", b"POST http://gateway@other" + PATH + b" HTTP/1.1"),
    line("absolute-other-port", b"POST http://gateway:81" + PATH + b" HTTP/1.1"),
    line("absolute-scheme", b"POST ftp://gateway" + PATH + b" HTTP/1.1"),
    line("absolute-no-host", b"POST http://" + PATH + b" HTTP/1.1"),
    served("absolute", request(CL, line=b"POST http://GATEWAY" + PATH + b" HTTP/1.1", body=FIRST)),
    served("query-with-line-breaks", request(CL, line=b"POST " + PATH + BREAKS + b" HTTP/1.1", body=FIRST)),
    refused("host-none", request(CL, body=FIRST, host=False)),
    refused("host-twice", request(b"Host: gateway", CL, body=FIRST)),
    refused("host-twice-other", request(b"hOST: other", CL, body=FIRST)),
    Case("host-none-on-1.0", request(CL, line=HTTP10, body=FIRST, host=False) + HIDDEN, (200,), (FIRST,)),
    served("kept-alive-on-1.0", request(b"Connection: keep-alive", CL, line=HTTP10, body=FIRST)),
    refused("line-empty-first", b"\r\n" + sound(FIRST)),
    refused("line-empty-between", b"\n" + sound(FIRST)),
    # Paths are compared as they are written: none of these exists.
    *(
        Case(f"path-{id}", request(CL, line=b"POST " + path + b" HTTP/1.1", body=FIRST), (404,))
        for id, path in (
            ("double-slash", b"/" + PATH), ("dots", b"/v1/..%b" % PATH), ("encoded", b"/v1/chat%2fcompletions"),
            ("backslash", b"/v1\\chat\\completions"), ("semicolon", PATH + b";a=b"), ("slash-behind", PATH + b"/"),
            ("upper-case", b"/V1/chat/completions"), ("encoded-break", PATH + b"%0d%0a"),
        )
    ),
)  # fmt: skip

GET = b"GET /v1/models HTTP/1.1"
TRACE = b"TRACE " + PATH + b" HTTP/1.1"
OPTIONS = b"OPTIONS * HTTP/1.1"
DISPOSITION = b"--b\r\nContent-Disposition: form-data; "
FORM = DISPOSITION + b'name="model"\r\n\r\nMODEL\r\n' + DISPOSITION + b'name="file"; filename="a"\r\n\r\n'
UPLOAD = FORM + NEXT + b"\r\n0\r\n\r\n" + NEXT + b"\r\n--b--\r\n"
AUDIO = b"POST /v1/audio/transcriptions HTTP/1.1"
SPACED = FIRST + b"\r\n\r\n"
BOTH = b"Content-Length: %d" % (len(FIRST) + len(HIDDEN))
TEXT = (b"Content-Type: text/plain", b"Content-Length: %d" % len(HIDDEN))
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
CANARY_IN_BODY = chat(b"0\\r\\n\\r\\nPOST / HTTP/1.1\\r\\n")


def behind(id: str, start: bytes, status: int, raw: bytes | None = None) -> Case:
    """A request to which no body belongs has one all the same, and it is a request. The answer does not wait for it:
    when it comes late the connection ends."""
    raw = raw or request(b"Content-Length: %d" % len(HIDDEN), line=start, body=HIDDEN)
    method = start.partition(b" ")[0].decode()
    return Case(f"body-of-{id}", raw + NEXT, (status, 200), (SECOND,), (method,), ((status,),))


BODIES = (
    Case("pipelined", sound(FIRST) + NEXT + NEXT, (200, 200, 200), (FIRST, SECOND, SECOND)),
    behind("get", GET, 200),
    behind("get-chunked", GET, 200, request(TE, line=GET, body=chunked(HIDDEN))),
    behind("head", b"HEAD /v1/models HTTP/1.1", 405),
    behind("delete", b"DELETE /v1/models HTTP/1.1", 405),
    behind("trace", TRACE, 405),
    behind("options", OPTIONS, 404),
    behind("unknown-path", b"POST /nowhere HTTP/1.1", 404),
    Case("connect", request(line=b"CONNECT gateway:80 HTTP/1.1") + HIDDEN, methods=("CONNECT",)),
    Case("body-with-a-request-behind-json", sound(FIRST + b"\r\n" + HIDDEN) + NEXT, (400, 200), (SECOND,)),
    Case("body-shorter-than-told", request(BOTH, body=FIRST + HIDDEN), (400,)),
    Case("body-never-whole", request(b"Content-Length: 100000", body=FIRST + HIDDEN), (408,)),
    served("body-with-line-breaks-behind", sound(SPACED), SPACED),
    served("body-that-talks-of-chunks", sound(CANARY_IN_BODY), CANARY_IN_BODY),
    served("upload", request(BOUNDARY, b"Content-Length: %d" % len(UPLOAD), line=AUDIO, body=UPLOAD), UPLOAD),
    served("upload-chunked", request(BOUNDARY, TE, line=AUDIO, body=chunked(UPLOAD[:99], UPLOAD[99:])), UPLOAD),
    served("upgrade-h2c", request(*H2C, CL, body=FIRST)),
    served("upgrade-h2c-chunked", request(*H2C, TE, body=HALVES)),
    served("upgrade-websocket", request(b"Connection: upgrade", b"Upgrade: websocket", CL, body=FIRST)),
    served("expect", request(b"Expect: 100-continue", CL, body=FIRST)),
    served("expect-any-case", request(b"eXPECT: 100-CONTINUE", TE, body=HALVES)),
    served("expect-on-1.0", request(b"Expect: 100-continue", KEEP, CL, line=HTTP10, body=FIRST)),
    served("expect-something-else", request(b"Expect: 200-ok", CL, body=FIRST)),
    Case("expect-and-a-refusal", request(b"Expect: 100-continue", *TEXT, body=HIDDEN), (415,)),
    served("type-twice", request(b"Content-Type: application/json", b"Content-Type: application/json", CL, body=FIRST)),
    served("accept-with-tabs", request(b"Accept: a\tb;\xff", b"Accept: c", CL, body=FIRST)),
)  # fmt: skip

CASES = (*TRANSFER_ENCODING, *CONTENT_LENGTH, *CHUNKS, *TRAILERS, *HEADS, *LINES, *BODIES)
