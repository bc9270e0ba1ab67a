"""What is set aside for one request until it is settled, and the short way to it for a plain conversation.

Owns `Held`, and `Lane`: the worst case of texts in, text out, by bounds and rates that are the same for many requests,
so that nothing but the body's size and two numbers of it need be looked at. It says the same as `hold`, whose long way
everything else takes (a test holds the two together). One event loop.
"""

from _native.rates import Rates
from fastpath.money.price import Billable, Price
from fastpath.money.reserve import ANSWER_ASSUMED, TEMPLATE_MOST, Bounds, Clamp, Reservation


class Held:
    """What is set aside. Tokens of the prompt and of the answer, at most.

    nano: the most that the bill can say, in the caller's currency. price: by which the worst case is the worst; None
    where no single one is. bounded: nano holds for any usage. found: the reservation, None to make it when it is asked.
    """

    def __init__(
        self,
        prompt_most: int,
        answer_most: int,
        nano: int,
        price: Price | None,
        bounded: bool = True,
        found: Reservation | None = None,
        rates: Rates | None = None,
    ) -> None:
        self.prompt_most = prompt_most
        self.answer_most = answer_most
        self.nano = nano
        self.price = price
        self.bounded = bounded
        self._found = found
        self._rates = rates

    @property
    def reservation(self) -> Reservation:
        """By which impossible usage is capped."""
        if self._found is None:
            rates, pico = self._rates, 0
            if rates is not None and self.price is not None:
                dearest = (self.prompt_most, rates.dearest_prompt), (self.answer_most, rates.dearest_answer)
                pico = sum([tokens * each for tokens, each in dearest]) + self.price.request
            worst = Billable(input=self.prompt_most, output=self.answer_most)
            self._found = Reservation(self.prompt_most, self.answer_most, 0, worst, pico)
        return self._found


class Lane:
    """The worst case of plain conversations with one model on one account."""

    def __init__(self, bounds: Bounds, clamp: Clamp, price: Price | None, rates: Rates | None) -> None:
        self._context = bounds.context
        self._limit = bounds.max_output or bounds.context
        self._beside = bounds.reasoning_beside
        self._most_tokens = -1 if clamp.max_tokens is None else clamp.max_tokens
        self._most_answers = -1 if clamp.n is None else clamp.n
        self._price = price
        self._rates = rates

    def hold(self, size: int, asked: int, answers: int) -> Held | None:
        """What a body of so many bytes may cost. asked: the limit it sets itself, 0: none. None: look closer."""
        if self._most_tokens >= 0 and not 0 < asked <= self._most_tokens:
            return None
        if 0 <= self._most_answers < answers:
            return None
        each = asked if asked and (asked < self._limit or not self._limit) else self._limit
        answer = ((each or ANSWER_ASSUMED) + self._beside) * answers
        prompt = size + TEMPLATE_MOST
        if self._context and prompt > self._context:
            prompt = self._context
        nano = 0
        if self._rates is not None:
            nano = self._rates.most(prompt, answer)
            if nano < 0:
                return None
        held = Held.__new__(Held)  # its constructor would make an object of each number
        held.prompt_most, held.answer_most, held.nano = prompt, answer, nano
        held.price, held.bounded = self._price, True
        held._found, held._rates = None, self._rates
        return held
