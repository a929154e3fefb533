"""Content Credentials, with a certificate authority made here."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("c2pa")

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mav_lightning.cascade.clip_files import read_clip
from mav_lightning.cascade.sign import Signing, read_signature
from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import read_manifest

START = datetime(2026, 1, 1, tzinfo=UTC)


def certificate(name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, ca: bool) -> x509.Certificate:  # fmt: skip  # noqa: E501
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, text)])

    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(START + timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True)
    return builder.sign(signer, hashes.SHA256())


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate with its issuer, and its key."""
    folder = tmp_path_factory.mktemp("pem")
    root, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = [
        certificate("Film Studio", own, "Test CA", root, False),
        certificate("Test CA", root, "Test CA", root, True),
    ]
    (folder / "chain.pem").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
    (folder / "key.pem").write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "chain.pem", folder / "key.pem"


def generate(pipeline: Path, out: Path, *words: str) -> None:
    done = CliRunner().invoke(app, ["generate", "a red circle", "--pipeline", str(pipeline), "--out", str(out), *words])
    if done.exception:
        raise done.exception


@pytest.mark.parametrize("form", ["mp4", "gif", "frames"])
def test_a_signed_file_is_valid_until_somebody_changes_it(
    form: str, pems: tuple[Path, Path], text_pipeline: Path, tmp_path: Path
) -> None:
    generate(text_pipeline, tmp_path / "plain", "--format", form)
    generate(text_pipeline, tmp_path / "signed", "--format", form, "--sign", str(pems[0]), str(pems[1]))
    (record,) = read_manifest(tmp_path / "signed")
    file = tmp_path / "signed" / record.file
    assert np.array_equal(read_clip(file), read_clip(tmp_path / "plain" / record.file)), "signing leaves the frames"

    shown = json.loads(CliRunner().invoke(app, ["inspect", str(file)]).output)
    signature = shown["verified"]["signature"]
    assert signature["state"] == "Valid" and signature["issuer"] == "Film Studio"
    assert signature["manifest_sha256"] == shown["claims"]["manifest_sha256"] and shown["verified"]["manifest_matches"]
    assert read_signature(tmp_path / "plain" / record.file) is None

    one = sorted(file.glob("*.png"))[1] if form == "frames" else file
    whole = one.read_bytes()
    place = {"mp4": -40, "gif": 30, "frames": 45}[form]
    one.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place:][1:])
    found = read_signature(file)
    assert found is not None and found["state"] == "Invalid" and found["problems"]


def test_a_folder_of_frames_with_an_unsigned_one_among_them_is_not_vouched_for(
    pems: tuple[Path, Path], text_pipeline: Path, tmp_path: Path
) -> None:
    generate(text_pipeline, tmp_path / "plain", "--format", "frames")
    generate(text_pipeline, tmp_path / "signed", "--format", "frames", "--sign", str(pems[0]), str(pems[1]))
    (record,) = read_manifest(tmp_path / "signed")
    name = f"{record.file}/00001.png"
    (tmp_path / "signed" / name).write_bytes((tmp_path / "plain" / name).read_bytes())
    found = read_signature(tmp_path / "signed" / record.file)
    assert found is not None and found["state"] == "Invalid" and found["problems"] == ["1 frame without a signature"]


def test_what_cannot_be_signed_is_told_before_anything_is_drawn(
    pems: tuple[Path, Path], text_pipeline: Path, tmp_path: Path
) -> None:
    sign = ["--sign", str(pems[0]), str(pems[1])]
    with pytest.raises(UserError, match="format: mkv cannot be signed; choose one of mp4, gif, frames"):
        generate(text_pipeline, tmp_path / "out", "--format", "mkv", *sign)
    with pytest.raises(UserError, match="no key and certificate to sign with .* give two PEM files"):
        generate(text_pipeline, tmp_path / "out", "--format", "mp4", "--sign", str(pems[0]), str(pems[0]))
    other = tmp_path / "other.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    other.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(UserError, match="cannot sign with this certificate and .*other.pem"):
        generate(text_pipeline, tmp_path / "out", "--format", "mp4", "--sign", str(pems[0]), str(other))
    with pytest.raises(UserError, match="none.pem: no key and certificate"):
        Signing(tmp_path / "none.pem", pems[1])
    assert not (tmp_path / "out").exists()
