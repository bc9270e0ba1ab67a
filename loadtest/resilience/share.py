"""How sure a share is: the Wilson score interval. Pure."""

import math

#: Standard deviations of a normal distribution within which 95 % lie.
_Z = 1.959964


def wilson(good: int, total: int) -> tuple[float, float]:
    """The interval that holds the true share with 95 % confidence, when `good` of `total` went well.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if total == 0:
        return 0.0, 1.0
    share, square = good / total, _Z * _Z
    middle = share + square / (2 * total)
    spread = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    whole = 1 + square / total
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)
