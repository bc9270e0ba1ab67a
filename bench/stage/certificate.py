"""A throw-away certificate authority and a server certificate for 127.0.0.1, for TLS upstreams. Needs trustme."""

from pathlib import Path

import msgspec
import trustme


class Certificate(msgspec.Struct, frozen=True):
    """PEM files: the server's key with its chain, and the authority."""

    server: Path
    authority: Path


def make_certificate(folder: Path) -> Certificate:
    """Writes both into the folder. ECDSA P-256, as most servers have today."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    made = Certificate(folder / "server.pem", folder / "authority.pem")
    authority.issue_cert(
        "127.0.0.1", "localhost", key_type=trustme.KeyType.ECDSA
    ).private_key_and_cert_chain_pem.write_to_path(made.server)
    authority.cert_pem.write_to_path(made.authority)
    return made
