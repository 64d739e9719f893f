"""The record of a signature, which lies beside the file that was signed. Import it from `records.signed`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Signature:
    """An Ed25519 signature of one file.

    Attributes
    ----------
    sha256 : str
        Digest of the file, in hexadecimal; it is what was signed, behind a line that says what for.
    public_key : str
        The 32 bytes of the key that the signature is checked with, in hexadecimal.
    signature : str
        Its 64 bytes, in hexadecimal.
    """

    FILE_FORMAT: ClassVar[tuple[str, int]] = ("signature", 1)

    sha256: str
    public_key: str
    signature: str
