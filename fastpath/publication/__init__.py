"""Publications: what the control plane decided, signed, and how every node comes to run by it.

The control plane writes through `Publisher`; processes of a node follow the folder through `Follower`. Between nodes
`fastpath.publication.redis` carries the same files, and is imported only where it is configured. See
docs/explanation/snapshots.md.
"""

from fastpath.publication.accepted import Accepted
from fastpath.publication.folder import Folder, FolderWriter
from fastpath.publication.follower import Follower
from fastpath.publication.intake import Intake, Publication
from fastpath.publication.manifest import Manifest
from fastpath.publication.nudge import NudgeListener, nudge
from fastpath.publication.pieces import HeldTable, share_table
from fastpath.publication.problem import PublicationError, Reason, Refused
from fastpath.publication.publisher import Publisher
from fastpath.publication.secrecy import SettingsSeal, settings_key
from fastpath.publication.signer import Signer, finish_rotation, make_signer, prepare_rotation
from fastpath.publication.trust import Trust, key_text, read_trust, write_trust
from fastpath.publication.verifier import Verifier

__all__ = [
    "Accepted",
    "Folder",
    "FolderWriter",
    "Follower",
    "HeldTable",
    "Intake",
    "Manifest",
    "NudgeListener",
    "Publication",
    "PublicationError",
    "Publisher",
    "Reason",
    "Refused",
    "SettingsSeal",
    "Signer",
    "Trust",
    "Verifier",
    "finish_rotation",
    "key_text",
    "make_signer",
    "nudge",
    "prepare_rotation",
    "read_trust",
    "settings_key",
    "share_table",
    "write_trust",
]
