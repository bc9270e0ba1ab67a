"""Syntax of single setting values: URLs, hosts, networks, names, hashes.

Each `check_*` takes a text and returns None when it is good, else a sentence that says what to write instead. No
sentence repeats the text: it may have come from `${NAME}`. Knows nothing of files or of other settings. Pure.
"""

import ipaddress
import re
from collections.abc import Callable
from datetime import date, datetime
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/\[\]-]{0,127}")
_HASH = re.compile(r"b2:[0-9a-f]{8}:[0-9a-f]{64}")
_API_PATH = re.compile(r"/v1/[A-Za-z0-9_/-]+")
_CURRENCY = re.compile(r"[A-Z]{3}")
_NUMERIC = re.compile(r"[0-9.]+")
_CLOCK_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SUBJECTS = ("key", "user", "team")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def check_host(text: str) -> str | None:
    """An IP address (IPv6 without brackets) or a host name."""
    if text.startswith("["):
        return "must be an address without brackets: ::1, not [::1]"
    if _is_address(text):
        return None
    if _NUMERIC.fullmatch(text) or not _HOST.fullmatch(text):
        return "must be an IP address or a host name"
    return None


def check_network(text: str) -> str | None:
    """One address or a network in CIDR notation."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "must be an address or a network such as 10.0.0.0/8 or fd00::/8"
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return "has bits set after its prefix length: write the network's own address, such as 10.0.0.0/8"
    return None


def _check_port(text: str) -> str | None:
    if text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535:
        return None
    return "must have a port between 1 and 65535"


def check_nameserver(text: str) -> str | None:
    """An address, `address:port` or `[IPv6]:port`."""
    if _is_address(text):
        return None
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not colon or not _is_address(host):
        return "must be an IP address, with or without :port ([::1]:53 for IPv6)"
    return _check_port(port)


def _split_url(text: str) -> SplitResult | None:
    try:
        return urlsplit(text)
    except ValueError:
        return None


def _check_authority(parts: SplitResult) -> str | None:
    authority = parts.netloc
    if "@" in authority:
        return "must not hold a user or password: put the key into api_key"
    tail = authority.rpartition("]")[2] if authority.startswith("[") else authority
    if ":" in tail and (problem := _check_port(tail.partition(":")[2])):
        return problem
    host = parts.hostname
    if not host or check_host(host):
        return "must name a host, such as http://127.0.0.1:8000/v1"
    return None


def check_url(text: str) -> str | None:
    """Base URL of an endpoint: http or https, host, optional port and path; nothing else."""
    if not text.isascii() or any(c <= " " or c in '\\"<>^`{|}\x7f' for c in text):
        return "must be written in plain ASCII without spaces, quotes, braces or backslashes"
    parts = _split_url(text)
    if parts is None or parts.scheme not in ("http", "https"):
        return "must begin with http:// or https://"
    if "?" in text or "#" in text:
        return "must not have a query or a fragment"
    if any(segment in (".", "..") for segment in parts.path.split("/")):
        return "must not have . or .. in its path"
    return _check_authority(parts)


def check_model_name(text: str) -> str | None:
    """A model's name: printable, no white space; `*` only as the whole name."""
    if "*" in text and text != "*":
        return "may hold * only as the whole name, which stands for every model"
    if len(text) > 256 or not text.isprintable() or any(c.isspace() for c in text):
        return "must be at most 256 printable characters without spaces"
    return None


def check_label(text: str) -> str | None:
    """A name that goes into logs and metrics."""
    if _LABEL.fullmatch(text):
        return None
    return "must be up to 128 letters, digits and . _ @ : / [ ] -, beginning with a letter or a digit"


def check_hash(text: str) -> str | None:
    """The hash of a caller's key as `fastpath keys hash` prints it."""
    if _HASH.fullmatch(text):
        return None
    return "is not a key hash (b2:<8 hex>:<64 hex>): make one with `fastpath keys new` or `fastpath keys hash`"


def check_secret(text: str) -> str | None:
    """A key that is sent in a header: visible ASCII."""
    if not text:
        return "must not be empty: set the variable it comes from, or leave the key out"
    if len(text) > 8192 or any(not "!" <= c <= "~" for c in text):
        return "must be at most 8192 visible ASCII characters: no spaces, line ends or accents"
    return None


def check_api_path(text: str) -> str | None:
    """An API path as callers write it."""
    return None if _API_PATH.fullmatch(text) else "must be an API path such as /v1/embeddings"


def check_probe_path(text: str) -> str | None:
    """What a request line may ask for: a path from the root of a server, with a query if need be."""
    if not text.startswith("/") or text.startswith("//"):
        return "must begin with one /, as in /health"
    if not text.isascii() or any(c <= " " or c in '\\"#<>^`{|}\x7f' for c in text) or len(text) > 1024:
        return "must be written in plain ASCII without spaces, quotes, braces, backslashes or #"
    return None


def seconds_of(moment: str) -> float:
    """Unix seconds of a good moment."""
    return datetime.fromisoformat(moment).timestamp()


def check_moment(text: str) -> str | None:
    """A date and time with its distance from UTC (ISO 8601), after 1970."""
    try:
        moment = datetime.fromisoformat(text)
        good = moment.tzinfo is not None and moment.timestamp() > 0
    except (ValueError, OverflowError):
        good = False
    return None if good else "must be a date and time with its zone, such as 2027-01-31T18:00:00Z"


def check_time_zone(text: str) -> str | None:
    """A name of the IANA time zone database."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones
        return "must be a time zone such as UTC or Europe/Berlin that this machine knows (Debian package tzdata)"
    return None


def check_currency(text: str) -> str | None:
    """An ISO 4217 code."""
    return None if _CURRENCY.fullmatch(text) else "must be the three capital letters of a currency, such as USD"


def _check_pattern(text: str, check: Callable[[str], str | None]) -> str | None:
    """A name, or one that begins or ends with `*`, which stands for anything there."""
    if text == "*":
        return "stands for everything: leave the list out instead"
    bare = text.removeprefix("*") if text.startswith("*") else text.removesuffix("*")
    if "*" in bare:
        return "may hold one * only, at its beginning or at its end"
    return check(bare)


def check_label_pattern(text: str) -> str | None:
    """A name as `check_label`, or a pattern of such names."""
    # The end of a name may begin with what no name begins with: `*-test`.
    return _check_pattern(text, check_label if not text.startswith("*") else lambda bare: check_label(f"x{bare}"))


def check_model_pattern(text: str) -> str | None:
    """A model's name, or a pattern of such names."""
    return _check_pattern(text, check_model_name)


def check_path_pattern(text: str) -> str | None:
    """An API path, or all that begin with one: `/v1/images/*`."""
    return check_api_path(text.removesuffix("*"))


def check_subject(text: str) -> str | None:
    """`key:`, `user:` or `team:` and a name or a pattern of names."""
    kind, colon, name = text.partition(":")
    if not colon or kind not in _SUBJECTS:
        return "must begin with key:, user: or team: and go on with a name"
    return check_label_pattern(name)


def check_clock_time(text: str) -> str | None:
    """A minute of the day."""
    return None if _CLOCK_TIME.fullmatch(text) else "must be hours and minutes from 00:00 to 24:00, such as 09:30"


def check_date(text: str) -> str | None:
    """A date."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return "must be a date such as 2026-12-24"
    return None if _DATE.fullmatch(text) else "must be a date such as 2026-12-24"


def check_file(text: str) -> str | None:
    """A path of a file or folder. Whether it exists is seen when it is opened, on the machine that serves."""
    if not text.strip() or "\0" in text:
        return "must be the path of a file or folder"
    return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`. A name other than localhost might be anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def url_identity(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and path of a good URL, as two spellings of the same place share them."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, (parts.hostname or "").rstrip("."), port, parts.path.rstrip("/")


def url_label(url: str) -> str:
    """`host:port` of a good URL: the name of an endpoint that was given none."""
    _, host, port, _ = url_identity(url)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
