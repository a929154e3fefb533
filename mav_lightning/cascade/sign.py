"""Signed provenance: Content Credentials (C2PA) in the files, with the user's own key (extra `provenance`)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mav_lightning import __version__
from mav_lightning.cascade.mark import SOURCE_TYPE
from mav_lightning.common.errors import UserError

__all__ = ["SIGNED_FORMATS", "Signing", "read_signature"]

SIGNED_FORMATS = ("mp4", "gif", "frames")  # Matroska has no place for it
_MANIFEST = "io.github.mav-lightning.manifest"


@dataclass(frozen=True)
class Signing:
    """Signs files.

    References:
        C2PA technical specification 2.2, §18.15: actions. https://spec.c2pa.org

    Attributes:
        certificate: PEM, the signer's certificate first, then those that vouch for it.
        key: PEM, the signer's private key: ECDSA, Ed25519 or RSA.

    Raises:
        UserError: A file that is missing or no such PEM, or the extra `provenance` is not installed.
    """

    certificate: Path
    key: Path

    def __post_init__(self) -> None:
        _ = self._signer  # a mistake shows before anything is drawn

    def __call__(self, file: Path, manifest_sha256: str) -> None:
        """Signs a file in place: that it was generated, by what, and the hash of the manifest it belongs to."""
        created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
        claim = {
            "claim_generator_info": [{"name": "mav-lightning", "version": __version__}],
            "assertions": [
                {"label": "c2pa.actions", "data": {"actions": [created]}},
                {"label": _MANIFEST, "data": {"manifest_sha256": manifest_sha256}},
            ],
        }
        c2pa, signed = _c2pa(), file.with_name(f".signed{file.name}")
        try:
            c2pa.Builder.from_json(json.dumps(claim)).sign_file(file, signed, self._signer)
        except c2pa.C2paError as error:
            signed.unlink(missing_ok=True)
            raise UserError(
                f"{self.certificate}: cannot sign with this certificate ({error}); C2PA wants one for e-mail "
                "protection or document signing, issued by somebody else, with its issuers in the same file."
            ) from error
        signed.replace(file)

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


def read_signature(file: Path) -> Mapping[str, Any] | None:
    """What a file's Content Credentials say and whether they hold; None where it has none.

    Returns:
        ``state`` (Valid, Invalid, or Trusted where the issuer is known), ``issuer``, ``manifest_sha256``, and
        ``problems``, the codes of what is wrong.

    Raises:
        UserError: The extra `provenance` is not installed.
    """
    c2pa = _c2pa()
    file = min(file.glob("*.png"), default=file) if file.is_dir() else file
    try:
        with c2pa.Reader(file) as reader:
            store = json.loads(reader.json())
    except c2pa.C2paError:
        return None
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
    raise ValueError(f"a {type(key).__name__} is no key for C2PA")


def _c2pa() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise UserError("signing needs the extra `provenance`: pip install 'mav-lightning[provenance]'.") from error
    return c2pa
