"""Signed provenance: Content Credentials (C2PA) with the user's own key (extra `provenance`)."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from mav_lightning import __version__
from mav_lightning.cascade.mark import SOURCE_TYPE
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.optional_import import optional_module

__all__ = ["Signing", "can_be_signed", "read_signature"]

_TYPES = {".mp4": "video/mp4", ".gif": "image/gif", ".png": "image/png"}
_MANIFEST = "io.github.mav-lightning.manifest"


@dataclass(frozen=True)
class Signing:
    """Signs files with Content Credentials.

    References:
        C2PA technical specification 2.2, §18.15: actions. https://spec.c2pa.org

    Attributes:
        certificate: PEM file: the signer's certificate, followed by those of its issuers.
        key: PEM file: the signer's private key (ECDSA, Ed25519 or RSA), without a password.

    Raises:
        UserError: If a file is missing or not such a PEM, certificate and key do not match, or the extra `provenance`
            is not installed.
    """

    certificate: Path
    key: Path

    def __post_init__(self) -> None:
        picture = io.BytesIO()
        Image.new("RGB", (1, 1)).save(picture, "PNG")
        picture.seek(0)
        self._sign("image/png", picture, io.BytesIO(), "")  # errors are raised before anything is generated

    @property
    def fingerprint(self) -> str:
        """sha256 of the certificate file."""
        return hashlib.sha256(self.certificate.read_bytes()).hexdigest()

    def __call__(self, file: Path, manifest_sha256: str) -> None:
        """Sign a file in place. The signature covers that it was generated, by what program, and the manifest's hash.

        Args:
            file: MP4, GIF or PNG file.
            manifest_sha256: sha256 of the manifest that the file belongs to.
        """
        signed = io.BytesIO()
        with file.open("rb") as source:
            self._sign(_TYPES[file.suffix], source, signed, manifest_sha256)
        file.write_bytes(signed.getvalue())

    def _sign(self, kind: str, source: BinaryIO, target: BinaryIO, manifest_sha256: str) -> None:
        created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
        claim = {
            "claim_generator_info": [{"name": "mav-lightning", "version": __version__}],
            "assertions": [
                {"label": "c2pa.actions", "data": {"actions": [created]}},
                {"label": _MANIFEST, "data": {"manifest_sha256": manifest_sha256}},
            ],
        }
        c2pa = _c2pa()
        try:
            c2pa.Builder.from_json(json.dumps(claim)).sign(self._signer, kind, source, target)
        except c2pa.C2paError as error:
            raise UserError(
                f"{self.certificate}: cannot sign with this certificate and {self.key} ({error}); C2PA requires "
                "the key's own certificate, for e-mail protection or document signing, issued by another authority, "
                "with its issuers in the same file."
            ) from error

    @cached_property
    def _signer(self) -> Any:
        c2pa = _c2pa()
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key, chain = self.key.read_bytes(), self.certificate.read_text()
            algorithm = _algorithm(load_pem_private_key(key, None))
            return c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, chain.encode(), key, None))
        except (OSError, ValueError, TypeError, c2pa.C2paError) as error:
            raise UserError(
                f"{self.key}, {self.certificate}: no key and certificate to sign with ({error}); give two PEM files, "
                "the key without a password."
            ) from error


def can_be_signed(file: Path) -> bool:
    """Return whether a file, or a folder of PNGs, is in a format that can hold Content Credentials."""
    return file.is_dir() or file.suffix.lower() in _TYPES


def read_signature(file: Path) -> Mapping[str, Any] | None:
    """Read and verify the Content Credentials of a file. Return None if it has none.

    A folder of frames is valid only if all its frames are.

    Args:
        file: A file that can hold Content Credentials, see `can_be_signed`, or a folder of PNGs.

    Returns:
        ``state`` (Valid, Invalid, or Trusted if the issuer is known), ``issuer``, ``manifest_sha256`` and ``problems``,
        the codes of failed checks.

    Raises:
        UserError: If the extra `provenance` is not installed.
    """
    if not file.is_dir():
        return _read(file)
    frames = [_read(frame) for frame in sorted(file.glob("*.png"))]
    signed = [frame for frame in frames if frame is not None]
    if not signed:
        return None
    if len(signed) < len(frames):
        return {
            **signed[0],
            "state": "Invalid",
            "problems": [f"{counted(len(frames) - len(signed), 'frame')} without a signature"],
        }
    return next((frame for frame in signed if frame["state"] == "Invalid"), signed[0])


def _read(file: Path) -> dict[str, Any] | None:
    c2pa = _c2pa()
    try:
        with c2pa.Reader(file) as reader:
            store = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as error:
        return {"state": "Invalid", "issuer": None, "manifest_sha256": None, "problems": [str(error)]}
    active = store["manifests"][store["active_manifest"]]
    found = {entry["label"]: entry["data"] for entry in active.get("assertions", [])}
    return {
        "state": store.get("validation_state"),
        "issuer": active.get("signature_info", {}).get("issuer"),
        "manifest_sha256": found.get(_MANIFEST, {}).get("manifest_sha256"),
        "problems": sorted({problem["code"] for problem in store.get("validation_status", [])}),
    }


def _algorithm(key: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {256: "es256", 384: "es384", 521: "es512"}.get(key.curve.key_size, "es256")
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    raise ValueError(f"a {type(key).__name__} is not a key type that C2PA supports")


def _c2pa() -> Any:
    return optional_module("c2pa", "provenance")
