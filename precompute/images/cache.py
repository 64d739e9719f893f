"""Preprocessed images on disk, so that a second pass over a data set decodes nothing.

Owns the two cache files. Must not know data sets or models. An image takes 3 * crop * crop bytes (150 kB at 224 px, so
7.5 GB for 50,000); the file is as long as that from the start but takes room only for what was written.
"""

from __future__ import annotations

import logging
import os
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from precompute.atlas.files import output_error, replacing
from precompute.errors import OutputError

_LOGGER = logging.getLogger(__name__)
_HEADROOM = 1 << 30


@dataclass(frozen=True)
class ImageCache:
    """Fixed-size images by index, each with a checksum over its stamp and its pixels.

    An image counts as present only if its checksum (never 0) fits, so that one torn by a crash is decoded again, and so
    is one whose stamp (a number that changes with the file that it was decoded from) is another now.
    Several processes may read and write at once: an image has one right content.

    Attributes
    ----------
    path : Path
        The pixels; the checksums lie beside it with the suffix ``.crc``.
    n_images : int
    shape : (int, int, int)
        Of one uint8 image.
    """

    path: Path
    n_images: int
    shape: tuple[int, int, int]

    @property
    def _n_bytes(self) -> int:
        return int(np.prod(self.shape))

    def create(self) -> None:
        """Make the files where there are none.

        Raises
        ------
        OutputError
            No permission, or not enough free space for all images and 1 GB besides.
        """
        checksums = self.path.with_suffix(".crc")
        if self.path.exists() and checksums.exists():
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.path.parent).free
        except OSError as error:
            raise output_error(self.path, error) from error
        needed = self.n_images * self._n_bytes
        if free < needed + _HEADROOM:
            raise OutputError(
                f"the image cache {self.path} may grow to {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
                "free some space or set mining.cache_images = false"
            )
        for path, size in ((self.path, needed), (checksums, 4 * self.n_images)):
            with replacing(path) as partial, partial.open("wb") as file:
                file.truncate(size)

    def read(self, index: int, stamp: int = 0) -> npt.NDArray[np.uint8] | None:
        """Read an image, or None where it is not there whole or has another stamp."""
        try:
            with self.path.with_suffix(".crc").open("rb") as file:
                checksum = os.pread(file.fileno(), 4, 4 * index)
            if checksum == bytes(4) or len(checksum) < 4:
                return None
            with self.path.open("rb") as file:
                content = os.pread(file.fileno(), self._n_bytes, index * self._n_bytes)
        except OSError:
            return None
        if len(content) < self._n_bytes or _checksum(content, stamp) != checksum:
            return None
        return np.frombuffer(content, dtype=np.uint8).reshape(self.shape)

    def write(self, index: int, image: npt.NDArray[np.uint8], stamp: int = 0) -> None:
        """Keep an image; where that fails (a full disk) the run goes on without."""
        content = np.ascontiguousarray(image).tobytes()
        try:
            with self.path.open("rb+") as file:
                os.pwrite(file.fileno(), content, index * self._n_bytes)
            with self.path.with_suffix(".crc").open("rb+") as file:
                os.pwrite(file.fileno(), _checksum(content, stamp), 4 * index)
        except OSError as error:
            _LOGGER.warning("the image cache %s cannot be written: %s", self.path, error.strerror)


def _checksum(content: bytes, stamp: int) -> bytes:
    return (zlib.crc32(content, zlib.crc32(str(stamp).encode())) or 1).to_bytes(4, "little")
