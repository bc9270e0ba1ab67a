"""TLS of the native door, by the ssl module.

Owns the context: versions, ALPN, certificate. Files are read when a worker starts and not again.
"""

import ssl

from fastpath.settings import Tls
from fastpath.settings.problem import Problem, SettingsError


def server_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.3, as the Granian door has it, and HTTP/1.1 only. Raises SettingsError when a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(tls.cert, tls.key, password="")
    except ssl.SSLError as error:
        reason = "do not fit each other" if error.reason == "KEY_VALUES_MISMATCH" else "are not both readable as PEM"
        raise _problem("listen.tls", f"cert and key {reason} (the key must have no passphrase)") from error
    except OSError as error:
        raise _problem("listen.tls", f"cert or key cannot be read: {error.strerror}") from error
    return context


def _problem(path: str, message: str) -> SettingsError:
    return SettingsError([Problem(0, 0, path, message)], "settings")
