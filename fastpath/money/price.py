"""What a request costs: a pinned price times a usage, rounded once.

The arithmetic itself is in `scheduler.money`, where every layer can reach it; this is the name by which the gateway and
the control plane know it. Does not own which price applies (`table`) or who pays (the ledger). Pure.
"""

from scheduler.money import (
    MOST_NANO,
    Billable,
    Price,
    Reading,
    answer_rates,
    divide_half_even,
    nano_of,
    pico_of,
    price_for,
    prompt_rates,
)

__all__ = [
    "MOST_NANO",
    "Billable",
    "Price",
    "Reading",
    "answer_rates",
    "divide_half_even",
    "nano_of",
    "pico_of",
    "price_for",
    "prompt_rates",
]
