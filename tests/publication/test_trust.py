"""Who may publish: signatures, keys in their files, rotation, and the secrecy of settings."""

import os
import stat
from pathlib import Path

import pytest
from msgspec.structs import replace

from fastpath.publication import (
    PublicationError,
    Refused,
    SettingsSeal,
    Signer,
    Trust,
    finish_rotation,
    key_text,
    make_signer,
    prepare_rotation,
    read_trust,
    settings_key,
    write_trust,
)
from fastpath.publication.manifest import LAYOUT, OLDEST, Blob, Manifest, Table, encode_manifest
from fastpath.publication.trust import HEAD_SIZE

MANIFEST = Manifest(
    LAYOUT, 7, 6, 1_700_000_000_000, "0123abcd", Blob(b"s" * 32, 99), Table(b"b" * 32, 128), Table(b"d" * 32, 224)
)


def reason_of(trust: Trust, envelope: bytes) -> str:
    with pytest.raises(Refused) as refused:
        trust.open(envelope)
    return refused.value.reason


def test_what_a_trusted_key_signed_is_opened() -> None:
    signer = Signer(bytes(32))
    assert Trust([signer.public]).open(signer.seal(MANIFEST)) == MANIFEST


def test_every_flip_of_a_bit_is_refused() -> None:
    signer = Signer(bytes(32))
    trust, envelope = Trust([signer.public]), signer.seal(MANIFEST)
    for at in range(8 * len(envelope)):
        flipped = bytearray(envelope)
        flipped[at // 8] ^= 1 << at % 8
        assert reason_of(trust, bytes(flipped)) in ("malformed", "signature"), at


def test_every_cut_and_every_addition_is_refused() -> None:
    signer = Signer(bytes(32))
    trust, envelope = Trust([signer.public]), signer.seal(MANIFEST)
    for size in range(len(envelope)):
        assert reason_of(trust, envelope[:size]) in ("malformed", "signature"), size
    assert reason_of(trust, envelope + b"\0") == "signature"
    assert reason_of(trust, envelope + bytes(1 << 20)) == "malformed"


def test_another_key_is_refused_even_under_a_trusted_name() -> None:
    ours, other = Signer(bytes(32)), Signer(b"\1" * 32)
    trust, envelope = Trust([ours.public]), other.seal(MANIFEST)
    assert reason_of(trust, envelope) == "signature"
    assert reason_of(trust, envelope[:8] + ours.seal(MANIFEST)[8:16] + envelope[16:]) == "signature"


def test_a_signature_over_something_else_does_not_pass() -> None:
    """The key may sign other things one day: those bytes must not do as a manifest."""
    signer = Signer(bytes(32))
    data = encode_manifest(MANIFEST)
    bare = signer.seal(MANIFEST)[:16] + signer._private.sign(data) + data
    assert reason_of(Trust([signer.public]), bare) == "signature"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"version": 2**63},
        {"layout": 0},
        {"layout": LAYOUT + 1},
        {"pepper_id": "0123ABCD"},
        {"base": Table(b"b" * 31, 128)},
        {"base": Table(b"b" * 32, 127)},
        {"settings": Blob(b"b" * 32, 0)},
        {"settings": Blob(b"b" * 32, 1 << 40)},
        {"base": None},
    ],
    ids=str,
)
def test_a_manifest_that_cannot_be_is_refused_although_signed(change: dict[str, object]) -> None:
    signer = Signer(bytes(32))
    fields = {name: getattr(MANIFEST, name) for name in MANIFEST.__struct_fields__}
    assert reason_of(Trust([signer.public]), signer.seal(Manifest(**{**fields, **change}))) == "malformed"


def test_a_manifest_of_an_older_layout_is_taken() -> None:
    signer = Signer(bytes(32))
    older = replace(MANIFEST, layout=OLDEST)
    assert OLDEST < LAYOUT
    assert Trust([signer.public]).open(signer.seal(older)) == older


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    made = make_signer(folder)
    assert make_signer(folder).public == made.public
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()] == [("signing-key", 0o600)]


@pytest.mark.parametrize("spoil", ["readable", "short", "link", "folder", "fifo"])
def test_a_key_that_others_could_know_is_not_used(tmp_path: Path, spoil: str) -> None:
    make_signer(tmp_path / "keys")
    path = tmp_path / "keys" / "signing-key"
    if spoil == "readable":
        path.chmod(0o640)
    elif spoil == "short":
        path.write_bytes(bytes(31))
    elif spoil == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    elif spoil == "fifo":
        path.unlink()
        os.mkfifo(path, 0o600)
    else:
        (tmp_path / "keys").chmod(0o755)
    with pytest.raises(PublicationError):
        make_signer(tmp_path / "keys")


def test_a_rotation_trusts_two_keys_at_once(tmp_path: Path) -> None:
    old = make_signer(tmp_path)
    following = prepare_rotation(tmp_path)
    assert prepare_rotation(tmp_path).public == following.public != old.public
    assert make_signer(tmp_path).public == old.public
    both = Trust([old.public, following.public])
    assert both.open(old.seal(MANIFEST)) == both.open(following.seal(MANIFEST)) == MANIFEST
    new = finish_rotation(tmp_path)
    assert new.public == following.public == make_signer(tmp_path).public
    assert reason_of(Trust([new.public]), old.seal(MANIFEST)) == "signature"
    with pytest.raises(PublicationError, match="prepare the rotation first"):
        finish_rotation(tmp_path)


def test_the_trust_file(tmp_path: Path) -> None:
    keys = [Signer(bytes([n]) * 32).public for n in range(3)]
    path = tmp_path / "state" / "trusted-keys"
    assert read_trust(tmp_path / "none") is None
    write_trust(path, Trust(keys[:2]))
    found = read_trust(path)
    assert found is not None
    assert found.keys == tuple(keys[:2])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for text in ("", "ed25519:00", key_text(keys[0]).replace("ed", "rs"), "\n".join(map(key_text, keys)), "\xff"):
        path.write_text(text, "latin-1")
        with pytest.raises(PublicationError, match="does not list trusted keys"):
            read_trust(path)


def test_settings_are_sealed_and_sealed_anew_each_time() -> None:
    secret = b"sk-canary-provider-key"
    seal = SettingsSeal(settings_key(b"\7" * 32))
    first, second = seal.close(secret), seal.close(secret)
    assert first != second
    assert secret not in first
    assert seal.open(first) == seal.open(second) == secret
    with pytest.raises(Refused):
        SettingsSeal(settings_key(b"\6" * 32)).open(first)
    for wrong in (b"", first[:5], first[:-1], first[:-1] + bytes([first[-1] ^ 1])):
        with pytest.raises(Refused):
            seal.open(wrong)


def test_an_envelope_is_small() -> None:
    assert len(Signer(bytes(32)).seal(MANIFEST)) < 300 + HEAD_SIZE
