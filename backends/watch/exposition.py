"""Numbers out of a page of Prometheus text, by their names. Pure.

Owns finding samples of wanted names. It reads nothing else of a page: a vLLM's has 1,500 lines of histograms, of which
six say how busy it is. One regular expression looks for those in 0.3 ms; prometheus_client's parser takes 22 ms for
the page and builds every sample (both measured on 1,500 lines). What is NaN, infinite, negative or no number counts as
not said. Linear in the size of a page, whatever is in it.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Final

MOST_BYTES: Final = 2 << 20
MOST_SAMPLES: Final = 4096
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


def pattern_of(*names: bytes) -> "re.Pattern[bytes]":
    """What finds the samples of these names. Make it once."""
    either = b"|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rb"^(" + either + rb")(?:\{([^\n]*)\})?[ \t]+([^\s]+)", re.MULTILINE)


def read_page(text: bytes, pattern: "re.Pattern[bytes]") -> Page:
    """The samples that the pattern finds, the first 4,096 of them."""
    samples: dict[bytes, list[tuple[Labels, float]]] = {}
    for count, found in enumerate(pattern.finditer(text[:MOST_BYTES])):
        if count >= MOST_SAMPLES:
            break
        value = _number(found[3])
        if value is not None:
            samples.setdefault(found[1], []).append((dict(_LABEL.findall(found[2] or b"")), value))
    return Page(samples)


def _number(text: bytes) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
