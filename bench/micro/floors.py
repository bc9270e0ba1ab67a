"""How many times as fast as its twin each kernel is, and what it must keep of that.

Measured with gcc 12.2 on an AMD EPYC, the middle of three runs, and the lower of two builds of CPython 3.11: Debian's
runs twins a third faster than one with other flags. A kernel that becomes faster should have its
new factor here. Factors are no merit of their own (a twin is written to be plain): they only may not shrink.
"""

KEEP = 0.75
"""A quarter may be lost to another CPU, compiler or Python; on one machine runs differ by a tenth."""
FACTORS = {
    "arena bucket": 6.4,  # most of it is the call from Python and the tuple of the answer
    "arena ewma": 4.9,
    "arena gate": 16.2,
    "arena p99 of 1,000": 27.0,  # counts bins; the twin sorts
    "http1 answer": 14.6,
    "http1 request": 9.8,  # most of it makes the objects that both return
    "http1 stream of 64 chunks": 24.3,
    "jsonscan check of an answer": 630.0,  # the twin of jsonscan builds a tree, byte by byte
    "jsonscan facts of a frame": 348.0,
    "jsonscan fields of 0.9 kB": 366.0,  # 542 before it looked into the dialogue too, which spares a decoder
    "jsonscan fields of 53 kB": 600.0,
    "jsonlines record": 13.0,
    "load charge": 5.3,
    "load pick of 4": 54.0,
    "load pick of 100": 90.0,
    "outbox append of 300 bytes": 1090.0,
    "outbox checksum of 300 bytes": 1030.0,
    "outbox read of 100 records": 3400.0,
    "keytable build of 1,000": 4.0,
    "keytable look-up among 1,000": 43.0,
    "relay filter, 64 chunks": 475.0,
    "score among 100": 96.0,
    "score among 1,000": 97.0,
    "sse data joined": 49.0,
    "sse frame classified": 112.0,
    "sse frame split": 6.8,
}


def floor(name: str) -> float:
    """The least factor that passes. Raises KeyError for what is not in the table."""
    return KEEP * FACTORS[name]
