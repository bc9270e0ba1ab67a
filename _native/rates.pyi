"""One tier of a price, ready to be multiplied: the short way of `scheduler.money.pico_of` and `nano_of`."""

class Rates:
    """Prices in pico-units per token, and per request. Immutable; any thread may ask."""

    dearest_prompt: int
    dearest_answer: int

    def __init__(
        self,
        input: int,
        cached: int,
        output: int,
        reasoning: int,
        request: int,
        dearest_prompt: int,
        dearest_answer: int,
        markup_ppm: int = 0,
        long_from: int = 0,
    ) -> None:
        """dearest_*: of any token of that side. long_from: tokens of a prompt beyond which another tier bills; 0: none.

        Raises ValueError for what no price is.
        """

    def bill(self, prompt: int, cached: int, answer: int, reasoning: int) -> int:
        """Nano-units of a usage; `cached` and `reasoning` are parts of their sides. -1: not by these rates alone."""

    def most(self, prompt: int, answer: int) -> int:
        """Nano-units of the dearest way to use so many tokens at most. -1: not by these rates alone."""

def nano_text(nano: int) -> bytes:
    """Nano-units as a decimal text of whole units, exactly: `fastpath.money.amount.format_nano`, for a header."""

def decimal_text(number: int) -> bytes:
    """A whole number of 64 bits as its digits."""
