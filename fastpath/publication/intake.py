"""Takes publications out of the folder: verified whole, or refused with a reason; what is in use is reused.

Owns the pieces that are in use. Does not apply anything: `take` gives a candidate, its user judges it, then `accept`
makes it the last one taken, or `decline` gives it up. Waits for the disk, so it belongs in a thread; one at a time.
"""

from collections.abc import Mapping

import msgspec

from _native.keytable import Bounds, KeyLookup
from fastpath.publication.accepted import mark_of
from fastpath.publication.folder import Folder
from fastpath.publication.manifest import Manifest, Table
from fastpath.publication.pieces import HeldTable, read_blob, read_table
from fastpath.publication.problem import Refused
from fastpath.publication.secrecy import SettingsSeal
from fastpath.publication.verifier import Verifier


class Publication(msgspec.Struct, frozen=True, eq=False):
    """A verified publication. `settings`: what `encode_settings` made; the tables lie in sealed memory."""

    manifest: Manifest
    envelope: bytes
    settings: bytes
    base: HeldTable
    delta: HeldTable | None

    def __repr__(self) -> str:
        return f"<Publication {self.manifest.version}>"  # the settings hold secrets

    @property
    def mark(self) -> str:
        """Names the manifest (`mark_of`)."""
        return mark_of(self.envelope)

    def lookup(self, bounds: Bounds | None = None) -> KeyLookup:
        """Base and delta as one. `bounds`: of the policy in the settings. Raises KeyTableError when they do not fit."""
        return KeyLookup(self.base.table, self.delta.table if self.delta else None, bounds)


class Intake:
    """What one process takes from one folder."""

    def __init__(self, folder: Folder, verifier: Verifier, seal: SettingsSeal) -> None:
        self._folder = folder
        self._verifier = verifier
        self._seal = seal
        self._taken: bytes | None = None
        self._refused: bytes | None = None
        self._tables: dict[str, HeldTable] = {}

    def take(self, *, again: bool = False) -> Publication | None:
        """The current publication; None when it was taken, or refused and not `again`. Raises Refused, counted.

        One whose pieces are not all there is judged anew at every call: they may be on their way.
        """
        envelope = self._folder.envelope()
        if envelope is None or envelope == self._taken or (envelope == self._refused and not again):
            return None
        try:
            publication = self._gather(envelope)
        except Refused as refused:
            self._verifier.count(refused)
            self._refused = None if refused.reason == "missing" else envelope
            raise
        self._refused = envelope  # until it is accepted
        return publication

    def take_previous(self) -> Publication | None:
        """The one before, for a start when the current one is unfit. Refused as a rollback once that was accepted."""
        envelope = self._folder.previous()
        try:
            return self._gather(envelope) if envelope is not None else None
        except Refused as refused:
            self._verifier.count(refused)
            raise

    def accept(self, publication: Publication) -> None:
        """Durably the last one taken: nothing before it will be. Raises Refused when another process took a newer."""
        try:
            self._verifier.accepted.advance(publication.manifest.version, publication.mark)
        except Refused as refused:
            self.decline(publication, refused)
            raise
        self._taken = publication.envelope
        self._keep(_tables_of(publication))

    def decline(self, publication: Publication, refused: Refused) -> None:
        """Counts, and lets go of what was read for it alone."""
        self._verifier.count(refused)
        for name, held in _tables_of(publication).items():
            if self._tables.get(name) is not held:
                held.close()

    def close(self) -> None:
        """Lets all descriptors go. Tables stay usable by those who have them."""
        self._keep({})

    def _gather(self, envelope: bytes) -> Publication:
        manifest = self._verifier.judge(envelope)
        settings = self._seal.open(read_blob(self._folder.open(manifest.settings), manifest.settings))
        base = self._table(manifest.base)
        try:
            delta = self._table(manifest.delta) if manifest.delta is not None else None
        except BaseException:
            if manifest.base.name not in self._tables:
                base.close()
            raise
        publication = Publication(manifest, envelope, settings, base, delta)
        self._check_pair(publication)
        return publication

    def _table(self, piece: Table) -> HeldTable:
        held = self._tables.get(piece.name)
        return held or read_table(self._folder.open(piece), piece, self._verifier.pepper_id)

    def _check_pair(self, publication: Publication) -> None:
        try:
            publication.lookup()
        except ValueError as error:
            refused = Refused("damaged", str(error))
            for name, held in _tables_of(publication).items():
                if name not in self._tables:
                    held.close()
            raise refused from None

    def _keep(self, tables: Mapping[str, HeldTable]) -> None:
        for name, held in self._tables.items():
            if tables.get(name) is not held:
                held.close()
        self._tables = dict(tables)


def _tables_of(publication: Publication) -> dict[str, HeldTable]:
    manifest = publication.manifest
    tables = {manifest.base.name: publication.base}
    if manifest.delta is not None and publication.delta is not None:
        tables[manifest.delta.name] = publication.delta
    return tables
