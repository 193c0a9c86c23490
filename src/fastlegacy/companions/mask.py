# SPDX-License-Identifier: MIT
"""The mask of the frames as an EDF image and as a NumPy array: 1 where a pixel is not to be used, else 0.

pyFAI, Dioptas and silx take such files as they are. What surrounds the image in a larger frame is masked as well.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from fastlegacy.companions._masked import frame_mask
from fastlegacy.companions.scene import Scene

__all__ = ["COMPANION", "MaskFiles"]

_BLOCK = 512


class MaskFiles:
    """See the module."""

    name = "mask"
    summary = "mask of the frames as EDF and NPY, 1 where a pixel is not to be used"
    readers = ("pyFAI", "Dioptas", "silx", "fabio", "numpy")
    warns = False

    def missing(self, scene: Scene) -> tuple[str, ...]:
        """Return what nobody said."""
        return ("mask",) if scene.mask is None else ()

    def files(self, scene: Scene) -> dict[str, bytes]:
        """Return ``STEM_mask.edf`` and ``STEM_mask.npy``, of the shape of the frame, uint8."""
        masked = frame_mask(scene)
        pixels = np.zeros(scene.frame_shape, np.uint8) if masked is None else masked.astype(np.uint8)
        return {f"{scene.base}_mask.edf": _edf(pixels), f"{scene.base}_mask.npy": _npy(pixels)}


def _edf(pixels: NDArray[np.uint8]) -> bytes:
    ny, nx = pixels.shape
    text = (
        "{\nEDF_DataBlockID = 1.Image.Psd ;\n"
        f"EDF_BinarySize = {pixels.size} ;\nEDF_HeaderSize = {_BLOCK:5d} ;\n"
        f"ByteOrder = LowByteFirst ;\nDataType = UnsignedByte ;\nDim_1 = {nx} ;\nDim_2 = {ny} ;\n"
        f"Image = 1 ;\nHeaderID = EH:000001:000000:000000 ;\nSize = {pixels.size} ;\nTitle = mask ;\n"
    )
    return (text.ljust(_BLOCK - len("}\n")) + "}\n").encode("ascii") + pixels.tobytes()


def _npy(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    np.save(file, pixels, allow_pickle=False)
    return file.getvalue()


COMPANION = MaskFiles()
