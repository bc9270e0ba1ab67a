"""Price lists and rates as YAML text.

Owns the shape of the file: providers with what their rows share, the rows under them, and exchange rates. Numbers are
read as they are written, never as floats; every mistake says its line. The list that is shipped lies beside this
module. Called by the control plane, the supervisor and the CLI, never on the request path. No shared state.
"""

from importlib import resources
from typing import Any

import msgspec

from fastpath.money.currency import CurrencyError, RateRow, RateTable
from fastpath.money.row import PriceRow
from fastpath.money.table import PriceError, PriceTable
from fastpath.settings.yaml_tree import Mapping, Node, Place, Scalar, Sequence, YamlError, compose, kind_of

SHIPPED = "prices.yaml"


def read_shipped() -> PriceTable:
    """The price list that comes with the package."""
    text = resources.files("fastpath.money").joinpath(SHIPPED).read_text("utf-8")
    table, _ = read_prices(text, SHIPPED)
    return table


def read_prices(text: str, source: str, base: PriceTable | None = None) -> tuple[PriceTable, RateTable]:
    """The price table and the rates in a file's text; rows win over those of `base`, model by model.

    Raises PriceError with every mistake, each as `source:line: what to do`.
    """
    try:
        root = compose(text)
    except YamlError as error:
        raise PriceError([f"{source}:{error.place.line}: {error.message}"]) from None
    reader = _Reader(source)
    members = reader.members(root, ("providers", "rates")) if root is not None else {}
    rows = [row for node in reader.items(members.get("providers")) for row in reader.provider_rows(node)]
    rates = reader.rates(members.get("rates"))
    if reader.problems:
        raise PriceError(reader.problems)
    parsed, labels = [row for _, row in rows], [label for label, _ in rows]
    return base.overlay(parsed, labels) if base is not None else PriceTable(parsed, labels), rates


class _Reader:
    """Turns nodes into rows; goes on after a mistake."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.problems: list[str] = []

    def items(self, node: Node | None) -> list[Node]:
        if node is None:
            return []
        if isinstance(node, Sequence):
            return node.items
        self._report(node.place, "must be a list")
        return []

    def members(self, node: Node, known: tuple[str, ...]) -> dict[str, Node]:
        """The values of a mapping by key. Anything else, a key twice or an unknown one is a problem."""
        if not isinstance(node, Mapping):
            self._report(node.place, f"must be a mapping of {', '.join(known)}")
            return {}
        found: dict[str, Node] = {}
        for key, value in node.pairs:
            name = key.text if isinstance(key, Scalar) else ""
            if name not in known:
                self._report(key.place, f"{name!r} is not known here: {', '.join(known)}")
            elif name in found:
                self._report(key.place, f"{name} is there twice")
            found[name] = value
        return found

    def provider_rows(self, node: Node) -> list[tuple[str, PriceRow]]:
        members = self.members(node, ("provider", "currency", "source", "read", "prices"))
        prices = self.items(members.pop("prices", None))
        shared = {name: self._plain(value) for name, value in members.items()}
        return [(label, row) for price in prices for label, row in self._row(price, shared)]

    def rates(self, node: Node | None) -> RateTable:
        rows = []
        for item in self.items(node):
            try:
                rows.append(msgspec.convert(self._plain(item), RateRow, strict=False))
            except msgspec.ValidationError as error:
                self._report(item.place, str(error))
        try:
            return RateTable(rows)
        except CurrencyError as error:
            self._report(node.place if node is not None else Place(1, 1), str(error))
            return RateTable()

    def _row(self, node: Node, shared: dict[str, Any]) -> list[tuple[str, PriceRow]]:
        plain = self._plain(node)
        if not isinstance(plain, dict):
            self._report(node.place, "must be a mapping with a model and its prices")
            return []
        try:
            row = msgspec.convert({**shared, **plain}, PriceRow, strict=False)
        except msgspec.ValidationError as error:
            self._report(node.place, f"{plain.get('model', 'a row without a model')}: {error}")
            return []
        return [(self._label(node.place), row)]

    def _plain(self, node: Node) -> Any:
        """The node as dicts, lists and texts. Null is None; a number stays the text that it is."""
        if isinstance(node, Scalar):
            return None if kind_of(node) == "null" else node.text
        if isinstance(node, Sequence):
            return [self._plain(item) for item in node.items]
        plain: dict[str, Any] = {}
        for key, value in node.pairs:
            name = key.text if isinstance(key, Scalar) else ""
            if name in plain:
                self._report(key.place, f"{name} is there twice")
            plain[name] = self._plain(value)
        return plain

    def _label(self, place: Place) -> str:
        return f"{self._source}:{place.line}"

    def _report(self, place: Place, message: str) -> None:
        self.problems.append(f"{self._label(place)}: {message}")
