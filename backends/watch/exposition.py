"""Numbers out of a page of Prometheus text, by their names. Pure.

Owns finding samples of wanted names. It reads nothing else of a page: a vLLM's has 1,500 lines of histograms, of which
six say how busy it is. Looking for those takes 0.4 ms; prometheus_client's parser takes 45 ms for the page and builds
every sample (both measured on 1,463 lines). What is NaN, infinite, negative or no number counts as not said, and so
does a line of more than 4 KiB. Linear in the size of a page, whatever is in it.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Final

MOST_BYTES: Final = 2 << 20
MOST_SAMPLES: Final = 4096
MOST_LINE: Final = 4096
_REST: Final = re.compile(rb'(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?[ \t]+(\S+)')
_LABEL: Final = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')

Labels = dict[bytes, bytes]
Keep = Callable[[Labels], bool]


class Page:
    """The samples of some names."""

    def __init__(self, samples: dict[bytes, list[tuple[Labels, float]]]) -> None:
        self._samples = samples

    def has(self, *names: bytes) -> bool:
        """Whether any of the names has a sample."""
        return any(name in self._samples for name in names)

    def total(self, *names: bytes, keep: Keep | None = None) -> float | None:
        """The sum over the labels of the first name that has samples."""
        values = self._values(names, keep)
        return sum(values) if values else None

    def mean(self, *names: bytes, keep: Keep | None = None) -> float | None:
        """The mean over the labels of the first name that has samples."""
        values = self._values(names, keep)
        return sum(values) / len(values) if values else None

    def _values(self, names: Iterable[bytes], keep: Keep | None) -> list[float]:
        for name in names:
            values = [value for labels, value in self._samples.get(name, ()) if keep is None or keep(labels)]
            if values:
                return values
        return []


def read_page(text: bytes, names: Iterable[bytes]) -> Page:
    """The samples of some names, the first 4,096 of each."""
    text = b"\n" + text[:MOST_BYTES]
    return Page({name: found for name in names if (found := _find(text, name))})


def _find(text: bytes, name: bytes) -> list[tuple[Labels, float]]:
    needle = b"\n" + name
    samples: list[tuple[Labels, float]] = []
    at = text.find(needle)
    for _ in range(MOST_SAMPLES):
        if at < 0:
            break
        begin, at = at + len(needle), text.find(needle, at + 1)
        sample = _read_rest(text[begin : begin + MOST_LINE].partition(b"\n")[0])
        if sample is not None:
            samples.append(sample)
    return samples


def _read_rest(line: bytes) -> tuple[Labels, float] | None:
    """What stands behind a name; None when that was only the beginning of a longer one, or tells no amount."""
    found = _REST.match(line)
    value = _number(found[2]) if found is not None else None
    if found is None or value is None:
        return None
    return dict(_LABEL.findall(found[1] or b"")), value


def _number(text: bytes) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
