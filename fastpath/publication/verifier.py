"""Which publications a node may take: signed by a trusted key, not older than what it took, for its own pepper.

Owns the judgement of envelopes and the count of refusals by reason. Pieces are judged where they are read (`pieces`).
One thread at a time.
"""

from fastpath.publication.accepted import Accepted, mark_of
from fastpath.publication.manifest import Manifest
from fastpath.publication.problem import Reason, Refused
from fastpath.publication.trust import Trust


class Verifier:
    """`trust` may be replaced at any time, while a key is rotated."""

    def __init__(self, trust: Trust, pepper_id: str, accepted: Accepted) -> None:
        self.trust = trust
        self.pepper_id = pepper_id
        self.accepted = accepted
        self.refusals: dict[Reason, int] = {}

    def judge(self, envelope: bytes) -> Manifest:
        """The manifest of a publication that may be taken. Raises Refused, uncounted."""
        manifest = self.trust.open(envelope)
        if manifest.pepper_id != self.pepper_id:
            raise Refused("pepper", f"its keys were hashed under pepper {manifest.pepper_id}, not {self.pepper_id}")
        self.accepted.check(manifest.version, mark_of(envelope))
        return manifest

    def count(self, refused: Refused) -> None:
        """Adds to `refusals`."""
        self.refusals[refused.reason] = self.refusals.get(refused.reason, 0) + 1
