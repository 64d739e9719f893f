"""Signatures of reports, Ed25519: the only module that knows `cryptography`.

Owns what is signed, where a signature lies (beside the report, ``.sig`` behind its name), and that a private key is
read, used and named nowhere. Must not know what a report says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from precompute.atlas.digests import digest_bytes
from precompute.atlas.files import unreadable
from precompute.atlas.json_records import file_text, read_json
from precompute.errors import ConfigError, OutputError, StoreError
from precompute.records.signed import Signature

SUFFIX = ".sig"
KEY_VARIABLE = "ATLAS_SIGNING_KEY"
"""Environment variable that may hold the private key, as PEM."""
_MAX_KEY = 1 << 16
_PURPOSE = b"concept-atlas report 1\n"
_HOW = "Make one with `openssl genpkey -algorithm ed25519 -out key.pem`"


@dataclass(frozen=True, repr=False)
class Signer:
    """Signs with a private key that it does not show."""

    _key: Ed25519PrivateKey

    @property
    def public_key(self) -> str:
        """The public key in hexadecimal."""
        return self._key.public_key().public_bytes_raw().hex()

    def sign(self, content: bytes) -> bytes:
        """Return the content of the file that says who signed; the same content gives the same bytes."""
        digest = digest_bytes(content)
        made = Signature(digest, self.public_key, self._key.sign(_message(digest)).hex())
        return file_text(made).encode()


def read_signer(path: Path | None, variable: str = "") -> Signer | None:
    """Read the private key from a file, else from the text of the environment variable; None where neither is given.

    Raises
    ------
    ConfigError
        It is no Ed25519 key in PEM, or locked by a passphrase. The message never holds what was read.
    StoreError
        The file cannot be read.
    """
    if path is None and not variable.strip():
        return None
    where = str(path) if path else f"the environment variable {KEY_VARIABLE}"
    try:
        content = _start_of(path) if path else variable.encode(errors="replace")
    except OSError as error:
        raise unreadable(Path(where), error) from error
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise ConfigError(f"the key in {where} is locked by a passphrase: give one that is not") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{where} holds no private key of Ed25519 in PEM. {_HOW}")
    return Signer(key)


def _start_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_KEY)


def signature_path(path: Path) -> Path:
    """Return where the signature of a file lies."""
    return path.with_name(path.name + SUFFIX)


def signed_by(path: Path) -> str:
    """Return the public key that signed a file as it is now; empty where no signature lies beside it.

    Raises
    ------
    OutputError
        The file is not the one that was signed, or the signature is not that key's.
    StoreError
        The file or its signature cannot be read.
    """
    beside = signature_path(path)
    if not beside.exists():
        return ""
    found = read_json(beside, Signature, "Take the signature that came with the report.")
    try:
        digest = digest_bytes(path.read_bytes())
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        key, signature = bytes.fromhex(found.public_key), bytes.fromhex(found.signature)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _message(found.sha256))
    except ValueError as error:
        raise StoreError(f"{beside} is damaged: its key or signature is no hexadecimal of the right length") from error
    except InvalidSignature:
        raise OutputError(
            f"{beside} was changed: its signature is not that of the key and the digest in it. Ask whoever signed for "
            "the report and its signature again"
        ) from None
    if digest != found.sha256:
        raise OutputError(
            f"{path} was changed after it was signed by the key {key.hex()}: its digest is {digest[:12]}…, that of the "
            f"signed file {found.sha256[:12]}…. Ask whoever signed for the report again"
        )
    return key.hex()


def _message(digest: str) -> bytes:
    return _PURPOSE + digest.encode(errors="replace")
