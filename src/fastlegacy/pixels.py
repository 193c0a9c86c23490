# SPDX-License-Identifier: MIT
"""How a stored pixel becomes a pixel of a legacy file: one policy for all layouts.

The way of a pixel, in this order:

1. **Class.** Each pixel is valid, a *gap* (no detector there) or *bad* (dead, hot, noisy): by the mask where there is
   one, else every unsigned pixel whose bits are all set (65535 of u2, ...) is a gap.
2. **Binning.** Squares of pixels become one, their sum; a gap among them makes a gap, else a bad one makes a bad one.
   Rows and columns that fill no square are left out at the end.
3. **Value.** A gap becomes the form's ``gap``, a bad pixel its ``bad``, a valid one its value plus ``add``, kept
   between ``low`` and ``high`` as ``saturate`` says, in the form's dtype and byte order.
4. **Orientation.** Transposed, flipped upside down, flipped left to right, turned: in this order.
5. **Place.** The image is put into a larger frame, whose other pixels are ``pad``.

The kernels are in ``csrc/pixels.h``; layouts only describe what they want by a :class:`Form`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal as Choice

__all__ = ["AS_STORED", "Code", "Codec", "Coded", "Form", "Orientation", "PixelPolicy", "Saturate"]

Saturate = Choice["clip", "keep", "error"]
"""What happens to a valid pixel beyond the limits: the limit itself; its lowest bits as they are; an error."""

Codec = Choice["byte_offset", "agi_bitfield", "bruker100"]


@dataclass(frozen=True, slots=True)
class Orientation:
    """How the stored image is turned: transposed first, then flipped.

    Attributes
    ----------
    transpose : bool
        Rows become columns.
    flip_ud, flip_lr : bool
        The order of the rows, and of the columns, is reversed, after the transposition.
    """

    transpose: bool = False
    flip_ud: bool = False
    flip_lr: bool = False

    @classmethod
    def of(
        cls, *, transpose: bool = False, flip_ud: bool = False, flip_lr: bool = False, rotation_deg: int = 0
    ) -> Orientation:
        """Return transposition, flips and a turn, applied in this order, as one.

        Parameters
        ----------
        rotation_deg : {0, 90, 180, 270}
            Counter-clockwise with the first row on top, as ``numpy.rot90`` turns.

        Raises
        ------
        ValueError
            If the angle is not one of the four.
        """
        if rotation_deg not in (0, 90, 180, 270):
            raise ValueError(f"an image is turned by 0, 90, 180 or 270 degrees, not by {rotation_deg}")
        for _ in range(rotation_deg // 90):
            # a quarter turn is a transposition and then a flip upside down; a transposition swaps the flips before it
            transpose, flip_ud, flip_lr = not transpose, not flip_lr, flip_ud
        return cls(transpose, flip_ud, flip_lr)

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return (ny, nx) of the turned image from that of the stored one."""
        return (shape[1], shape[0]) if self.transpose else shape

    def point(self, y: float, x: float, shape: tuple[int, int]) -> tuple[float, float]:
        """Return where a point (y, x) of the stored image, of this shape, lies in the turned one.

        Points count pixels from the centre of the first pixel.
        """
        if self.transpose:
            y, x = x, y
        ny, nx = self.shape(shape)
        return (ny - 1 - y if self.flip_ud else y), (nx - 1 - x if self.flip_lr else x)


AS_STORED = Orientation()


@dataclass(frozen=True, slots=True)
class PixelPolicy:
    """What the user wants of pixels, where it is not what the layout does by itself. ``None``: the layout decides.

    Attributes
    ----------
    mask_value : int, float or None
        What gaps and bad pixels become.
    saturate : {"clip", "keep", "error"} or None
        What valid pixels beyond the layout's limits become.
    dtype : str or None
        NumPy code of the file's pixels without byte order (``"i4"``), for layouts that can hold several.
    """

    mask_value: int | float | None = None
    saturate: Saturate | None = None
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """The pixels of one frame as a file has them.

    Attributes
    ----------
    dtype : str
        With its byte order, as in ``"<i4"``.
    shape : tuple of int
        (ny, nx) of the frame in the file, at least that of the image.
    at : tuple of int
        Row and column of the frame where the image's first pixel goes.
    gap, bad : int, float or None
        What gaps and bad pixels become; None: their stored value, treated as a valid one.
    pad : int or float
        The pixels of the frame outside the image.
    low, high : int, float or None
        Limits of valid pixels, after ``add``; None: those of the dtype.
    add : int
        Added to valid pixels (a pedestal).
    saturate : {"clip", "keep", "error"}
        What valid pixels beyond the limits become. Whatever it says, floating-point pixels that become integers are
        rounded and clipped, and those that are no number become ``bad`` (0 where that is None).
    """

    dtype: str
    shape: tuple[int, int]
    at: tuple[int, int] = (0, 0)
    gap: int | float | None = None
    bad: int | float | None = None
    pad: int | float = 0
    low: int | float | None = None
    high: int | float | None = None
    add: int = 0
    saturate: Saturate = "clip"


@dataclass(frozen=True, slots=True)
class Code:
    """A codec, and the pixels that it is given: what the size of an encoded body depends on.

    Attributes
    ----------
    codec : {"byte_offset", "agi_bitfield", "bruker100"}
    form : Form
        Of dtype ``<i4``; for ``"bruker100"`` the limits say that no pixel is negative.
    digest : bool
        The layout needs the MD5 of the encoded body.
    """

    codec: Codec
    form: Form
    digest: bool = False

    @property
    def counts(self) -> int:
        """How many counts belong to the size of an encoded body."""
        return 2 if self.codec == "bruker100" else 0


@dataclass(frozen=True, slots=True)
class Coded:
    """What is known of one frame's encoded body.

    Attributes
    ----------
    size : int
        Bytes.
    counts : tuple of int
        For ``"bruker100"``: how many pixels are in the 16-bit and in the 32-bit table of overflows.
    md5 : bytes
        Digest of the body, 16 bytes: zeros where only sizes are asked for, or the layout needs none.
    """

    size: int
    counts: tuple[int, ...] = ()
    md5: bytes = bytes(16)
