"""Makes publications: the control plane's end of the folder.

Owns the version, which table is the base, what is in the delta, and when the two are merged. The caller owns the
policy: indexes in rows point into the settings published with them, and rows of the base stay as they are when settings
change, so an index keeps its meaning until `publish_all` writes all rows anew. Waits for the disk; one thread at once.
"""

from collections.abc import Iterable

from _native.keytable import TOMBSTONE, KeyTable, Row, build, merge
from fastpath.publication.folder import FolderWriter
from fastpath.publication.manifest import LAYOUT, Blob, Manifest, Table, blob_hash
from fastpath.publication.pieces import read_blob, read_table
from fastpath.publication.problem import PublicationError, Refused
from fastpath.publication.secrecy import SettingsSeal
from fastpath.publication.signer import Signer
from fastpath.publication.trust import Trust
from scheduler.clock import Clock

#: A delta is merged into its base when it has this many rows, or a sixty-fourth of the base's.
MOST_DELTA = 1024
_SHARE = 64


class Publisher:
    """Publishes into one folder, whose writer it takes over. `signer` may be replaced, when a key is rotated."""

    def __init__(self, writer: FolderWriter, signer: Signer, seal: SettingsSeal, pepper_id: str, clock: Clock) -> None:
        self.signer = signer
        self._writer = writer
        self._seal = seal
        self._pepper_id = pepper_id
        self._clock = clock
        self._current: Manifest | None = None
        self._settings: tuple[bytes, Blob] | None = None
        self._base: KeyTable | None = None
        self._delta: KeyTable | None = None

    def resume(self, trust: Trust) -> Manifest | None:
        """Goes on from what the folder holds; None when it holds nothing yet. Call once, first.

        Raises Refused when it is damaged or foreign: then only `publish_all` helps, which knows every key.
        """
        envelope = self._writer.folder.envelope()
        if envelope is None:
            return None
        manifest = trust.open(envelope)
        self._current = manifest  # the version counts whatever else is damaged
        folder = self._writer.folder
        if manifest.pepper_id != self._pepper_id:
            raise Refused("pepper", f"the keys in the folder were hashed under another pepper ({manifest.pepper_id})")
        base = self._load(manifest.base)
        self._delta = self._load(manifest.delta) if manifest.delta is not None else None
        sealed = read_blob(folder.open(manifest.settings), manifest.settings)
        self._settings = self._seal.open(sealed), manifest.settings
        self._base = base
        return manifest

    def publish_all(self, settings: bytes, rows: Iterable[Row]) -> Manifest:
        """A publication of these keys and no others. Raises KeyTableError, OSError."""
        return self._publish(settings, build(rows, self._pepper_id), None)

    def publish_changes(self, settings: bytes, rows: Iterable[Row] = (), revoked: Iterable[bytes] = ()) -> Manifest:
        """A publication with `rows` new or changed and the keys of `revoked` digests gone.

        Raises KeyTableError, OSError; PublicationError when nothing was published before: `publish_all` comes first.
        """
        if self._base is None:
            raise PublicationError("there is no publication to change: publish all keys first")
        changed = self._changed(rows, revoked)
        if not changed:
            return self._publish(settings, None, None)
        delta = build(changed.values(), self._pepper_id, self._base.root)
        if len(changed) < max(MOST_DELTA, len(self._base) // _SHARE):
            return self._publish(settings, None, delta)
        return self._publish(settings, merge(self._base, KeyTable.open(delta)), None)

    def close(self) -> None:
        """Lets another publisher in."""
        self._writer.close()

    def _changed(self, rows: Iterable[Row], revoked: Iterable[bytes]) -> dict[bytes, Row]:
        """The next delta's rows, by digest: those of the one before, with what is the same as in the base left out."""
        assert self._base is not None
        before = (self._delta.row(at) for at in range(len(self._delta))) if self._delta is not None else ()
        changed = {row.digest: row for row in before}
        for row in rows:
            changed[row.digest] = row
        for digest in revoked:
            changed[digest] = Row(digest, bytes(16), flags=TOMBSTONE)
        return {digest: row for digest, row in changed.items() if not _is_in(self._base, row)}

    def _publish(self, settings: bytes, base: bytes | None, delta: bytes | None) -> Manifest:
        """With `base` None the current one stays; then `delta` is what changes it."""
        base_table = KeyTable.open(base) if base is not None else self._base
        assert base_table is not None
        delta_table = KeyTable.open(delta) if delta is not None else None
        blob = self._put_settings(settings)
        manifest = self._next(blob, self._put(base_table, base), self._put(delta_table, delta) if delta_table else None)
        self._writer.commit(self.signer.seal(manifest))
        self._current, self._settings = manifest, (settings, blob)
        self._base, self._delta = base_table, delta_table
        return manifest

    def _next(self, settings: Blob, base: Table, delta: Table | None) -> Manifest:
        """Versions are milliseconds, or one more than the last: nodes go on taking them after the control plane was
        restored from a backup that knew fewer."""
        last = self._current.version if self._current is not None else 0
        now = int(self._clock.now() * 1000)
        return Manifest(LAYOUT, max(last + 1, now), last, now, self._pepper_id, settings, base, delta)

    def _put_settings(self, settings: bytes) -> Blob:
        if self._settings is not None and self._settings[0] == settings and self._holds(self._settings[1]):
            return self._settings[1]
        sealed = self._seal.close(settings)
        blob = Blob(blob_hash(sealed), len(sealed))
        self._writer.put(blob, (sealed,))
        return blob

    def _put(self, table: KeyTable, data: bytes | None) -> Table:
        """`data` None: the table of the current publication, which lies in the folder."""
        if data is None:
            assert self._current is not None
            if not self._holds(self._current.base):
                raise PublicationError(f"{self._current.base.name} is gone from the folder: publish all keys again")
            return self._current.base
        piece = Table(table.root, len(data))
        if not self._holds(piece):
            self._writer.put(piece, (data,))
        return piece

    def _holds(self, piece: Blob | Table) -> bool:
        return self._writer.folder.holds(piece)

    def _load(self, piece: Table) -> KeyTable:
        held = read_table(self._writer.folder.open(piece), piece, self._pepper_id)
        held.close()
        return held.table


def _is_in(base: KeyTable, row: Row) -> bool:
    """Whether the base says the same: this very row, or none where one is taken away."""
    at = base.index_of(row.digest)
    return bool(row.flags & TOMBSTONE) if at < 0 else base.row(at) == row
