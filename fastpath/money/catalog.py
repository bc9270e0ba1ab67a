"""All prices and rates that a gateway knows: the list that is shipped, the operator's own file over it.

Owns which of the two a row is from, and the look-up of a model's price by the moment of a request, remembered for each
UTC day so that a price that begins at midnight holds from then on without a reload. Does not own rows (`row`, `table`)
or the text (`price_file`). A model that no row names has no price: nothing is guessed. One event loop.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from fastpath.money.currency import RateTable
from fastpath.money.price_file import read_prices, read_shipped
from fastpath.money.table import PriceError, PriceTable
from scheduler.money import Price

#: Names and days of one provider that are remembered; callers choose names where a model is `*`.
MOST_KEPT: Final = 1_024
MOST_BYTES: Final = 4 << 20
_DAY: Final = 86_400

#: Providers by the host of their public API, for endpoints that do not name theirs. Only hosts whose prices are listed.
HOSTS: Final[Mapping[str, str]] = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "api.deepseek.com": "deepseek",
    "dashscope.aliyuncs.com": "alibaba",
    "dashscope-intl.aliyuncs.com": "alibaba-intl",
    "api.moonshot.cn": "moonshot",
    "api.z.ai": "zhipu",
    "api.mistral.ai": "mistral",
}


class Offer(msgspec.Struct, frozen=True):
    """What a provider asks for a model, and the model's own bounds in tokens (0: not known)."""

    price: Price
    context: int = 0
    max_output: int = 0


class Offers:
    """What one provider asks for its models."""

    __slots__ = ("_found", "_table", "provider")

    def __init__(self, table: PriceTable, provider: str) -> None:
        self._table = table
        self.provider = provider
        self._found: dict[tuple[str, int], Offer | None] = {}

    def find(self, model: str, at: float) -> Offer | None:
        """The offer of the UTC day of `at` (Unix seconds); None: no row names the model on that day."""
        place = (model, int(at // _DAY))
        try:
            return self._found[place]
        except KeyError:
            if len(self._found) >= MOST_KEPT:
                self._found.clear()
            found = self._found[place] = self._look_up(model, at)
            return found

    def _look_up(self, model: str, at: float) -> Offer | None:
        price, row = self._table.find(self.provider, model, at), self._table.find_row(self.provider, model, at)
        return None if price is None or row is None else Offer(price, row.context, row.max_output)


class Catalog:
    """Prices and rates, checked whole when it was opened. Immutable."""

    __slots__ = ("_table", "rates", "text")

    def __init__(self, table: PriceTable, rates: RateTable, text: str | None = None) -> None:
        self._table = table
        self.rates = rates
        self.text = text

    def offers(self, provider: str) -> Offers:
        """What a provider asks; nothing for one that no row names."""
        return Offers(self._table, provider)


def open_catalog(path: str | None, known: Catalog | None = None) -> Catalog:
    """The shipped list with the file at `path` over it; `known` itself when the file still says what it said then.

    Raises PriceError with every mistake of the file, and for a file that cannot be read.
    """
    text = None if path is None else _read(Path(path))
    if known is not None and known.text == text:
        return known
    shipped = read_shipped()
    if text is None:
        return Catalog(shipped, RateTable())
    table, rates = read_prices(text, str(path), shipped)
    return Catalog(table, rates, text)


def provider_of(url: str) -> str | None:
    """The provider whose public API this is the address of, None for anyone else's."""
    host = url.partition("://")[2].partition("/")[0].rpartition(":")
    return HOSTS.get((host[0] or host[2]).lower())


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PriceError([f"{path}: cannot be read: {error.strerror}"]) from None
    if len(data) > MOST_BYTES:
        raise PriceError([f"{path}: is larger than {MOST_BYTES >> 20} MiB, which no price list is"])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PriceError([f"{path}:{line}: is not UTF-8: save it as UTF-8"]) from None
