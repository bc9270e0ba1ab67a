"""Ids of requests, written as text at once: cut from the text of many they took 900 instructions, and take 300."""

from collections.abc import Callable

from _native.clock import Clock

class RequestIds:
    """128-bit ids: the Unix millisecond (48 bits) in which a batch of 256 was drawn, and 80 bits of the kernel's
    generator, one system call for all of them. In order of time, because books and their indexes are kept by them. One
    event loop."""

    def __init__(self, clock: Clock, random: Callable[[int], bytes] = ...) -> None:
        """random: so many unpredictable bytes, as `os.urandom`."""

    def next(self) -> str:
        """`req_` and 32 hexadecimal digits. Raises RuntimeError when the generator gives too few bytes."""
