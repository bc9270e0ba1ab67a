"""What an attempt used and what it costs: the records and the integer arithmetic that every layer shares.

Owns `Billable`, `Reading`, `Price` and the sums: prices in pico-units (1e-12 of a currency) per token, amounts in
nano-units (1e-9), int64 both. It lives in this layer because three others meet here: backends turn what a provider says
into a Billable, the cost score compares Prices, and `fastpath.money` (which re-exports all of it) settles with both;
none of them may import upwards. Does not own which price applies (`fastpath.money.table`) or who pays. Pure.
"""

import msgspec

#: Amounts beyond this are refused before they reach an int64 column.
MOST_NANO = 2**62
#: More tokens than any one request can have; beyond it a count is a lie.
IMPOSSIBLE = 100_000_000


class Billable(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a provider bills for one attempt, normalised: the parts never overlap. Tokens, except `images`."""

    input: int = 0  # tokens of the prompt that no cache served
    cached: int = 0  # read from the provider's prompt cache
    cache_write: int = 0  # written to it
    output: int = 0  # of the answer, without `reasoning`
    reasoning: int = 0
    images: int = 0
    cache_write_long: int = 0  # written to be kept longer, at another price (Anthropic: one hour)
    audio_input: int = 0
    audio_output: int = 0

    @property
    def prompt(self) -> int:
        """All tokens of the prompt, however they were served."""
        return self.input + self.cached + self.cache_write + self.cache_write_long + self.audio_input

    @property
    def answer(self) -> int:
        """All tokens of the answer, reasoning and audio included."""
        return self.output + self.reasoning + self.audio_output


class Reading(msgspec.Struct, frozen=True):
    """A provider's usage report as far as it can be read. A side that is not known is 0 in `usage`."""

    usage: Billable
    disputed: bool = False  # some count was impossible, or larger than the count that contains it
    prompt_known: bool = True
    answer_known: bool = True


class Price(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One version of a model's price, pinned at admission. Pico-units per token; per piece for images and requests.

    `None` for a part means: as its whole (cached, cache_write and audio_input as input, cache_write_long as
    cache_write, reasoning and audio_output as output).
    """

    version: str  # names the row of the price table, with its date
    currency: str  # ISO 4217
    input: int = 0
    output: int = 0
    cached: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    image: int = 0
    request: int = 0
    cache_write_long: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    long_from: int = 0  # a prompt of more tokens than this is billed by `long`, the whole request
    long: "Price | None" = None


def prompt_rates(price: Price) -> tuple[int, int, int, int, int]:
    """Pico-units per token of input, cached, cache_write, cache_write_long and audio_input."""
    write = price.input if price.cache_write is None else price.cache_write
    return (
        price.input,
        price.input if price.cached is None else price.cached,
        write,
        write if price.cache_write_long is None else price.cache_write_long,
        price.input if price.audio_input is None else price.audio_input,
    )


def answer_rates(price: Price) -> tuple[int, int, int]:
    """Pico-units per token of output, reasoning and audio_output."""
    return (
        price.output,
        price.output if price.reasoning is None else price.reasoning,
        price.output if price.audio_output is None else price.audio_output,
    )


def price_for(price: Price, prompt: int) -> Price:
    """The price of a request whose prompt has so many tokens: `price` itself, or its tier for long prompts."""
    while price.long is not None and prompt > price.long_from:
        price = price.long
    return price


def pico_of(price: Price, usage: Billable) -> int:
    """The exact cost in pico-units, before any rounding."""
    price = price_for(price, usage.prompt) if price.long is not None else price
    fresh, cached, write, write_long, audio = prompt_rates(price)
    output, reasoning, speech = answer_rates(price)
    return (
        usage.input * fresh
        + usage.cached * cached
        + usage.cache_write * write
        + usage.cache_write_long * write_long
        + usage.audio_input * audio
        + usage.output * output
        + usage.reasoning * reasoning
        + usage.audio_output * speech
        + usage.images * price.image
        + price.request
    )


def nano_of(pico: int, markup_ppm: int = 0) -> int:
    """Pico-units, marked up by `markup_ppm` millionths, as nano-units: the one rounding of an entry, half to even."""
    return divide_half_even(pico * (1_000_000 + markup_ppm), 1_000_000_000)


def divide_half_even(number: int, divisor: int) -> int:
    """`number / divisor` to the nearest integer, a half to the even one, for either sign. divisor: above 0."""
    quotient, rest = divmod(number, divisor)
    twice = 2 * rest
    if twice > divisor or (twice == divisor and quotient % 2):
        return quotient + 1
    return quotient
