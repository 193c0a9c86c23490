# SPDX-License-Identifier: MIT
"""What there is to say of each format: in, a layout; out, texts for tables, found by asking the layout itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlegacy.errors import LayoutError
from fastlegacy.model import Geometry, Layout, Option, Pixels, StackFacts
from fastlegacy.pixels import Form

__all__ = ["FormatFacts", "option_default", "option_values"]

_ALL = {"u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"}
# any stack will do that every format can hold: a square one of integers, of which everything is known
_STACK = StackFacts(
    url="scan.h5::/data",
    shape=(2, 1024, 1024),
    leading_shape=(2,),
    dtype=np.dtype("<u4"),
    geometry=Geometry(
        start_deg=0.0,
        step_deg=0.1,
        exposure_s=0.1,
        wavelength_angstrom=1.0,
        distance_m=0.1,
        beam_x_px=511.5,
        beam_y_px=511.5,
        pixel_x_m=1e-4,
        pixel_y_m=1e-4,
        run=1,
    ),
)


@dataclass(frozen=True, slots=True)
class FormatFacts:
    """Texts about a format.

    Attributes
    ----------
    span : str
        What one file is for.
    size : str
        ``"fixed"`` where sizes follow from the shape, ``"encoded"`` where they depend on the pixels, ``"either"`` where
        they do with some options.
    pixels : str
        NumPy codes of the pixels that it can be made from; ``"all"`` for all that there are.
    written : str
        The type of the pixels in the file.
    masked : str
        What gaps and bad pixels become unless the user says otherwise.
    beyond : str
        What becomes of pixels that are too large or too small.
    """

    span: str
    size: str
    pixels: str
    written: str
    masked: str
    beyond: str

    @classmethod
    def of(cls, layout: Layout) -> FormatFacts:
        """Return the texts of a layout with its options as they are by default."""
        facts = _facts(layout)
        form, is_coded = _form(layout, facts)
        return cls(
            span="each frame" if layout.per_frame else "the stack",
            size="encoded" if is_coded else "either" if layout.encoded else "fixed",
            pixels="all" if set(layout.dtypes) >= _ALL else " ".join(layout.dtypes),
            written="as stored" if form is None else _dtype_text(form),
            masked="their value as stored" if form is None else _masked_text(form),
            beyond="there are none" if form is None else _beyond_text(form),
        )


def _facts(layout: Layout) -> StackFacts:
    defaults: dict[str, Any] = {name: option.default for name, option in layout.options.items()}
    dtype = _STACK.dtype if "u4" in layout.dtypes else np.dtype(f"<{layout.dtypes[-1]}")
    return StackFacts(_STACK.url, _STACK.shape, (2,), dtype, geometry=_STACK.geometry, options=defaults)


def _form(layout: Layout, facts: StackFacts) -> tuple[Form | None, bool]:
    """What the pixels of a file become, None for nothing; and whether they are given to a codec."""
    try:
        code = layout.code(facts)
        if code is not None:
            return code.form, True
        pieces = layout.pieces(facts, 0)
    except LayoutError as error:
        raise LayoutError(f"the format {layout.name} refuses a plain square image: {error}") from error
    return next((piece.form for piece in pieces if isinstance(piece, Pixels)), None), False


def _dtype_text(form: Form) -> str:
    order = {"<": ", little endian", ">": ", big endian"}.get(form.dtype[0], "")
    return np.dtype(form.dtype).name + order


def _masked_text(form: Form) -> str:
    if form.gap == form.bad:
        return "their value as stored" if form.gap is None else str(form.gap)
    gap, bad = ("as stored" if value is None else value for value in (form.gap, form.bad))
    return f"gaps {gap}, bad pixels {bad}"


def _beyond_text(form: Form) -> str:
    dtype = np.dtype(form.dtype)
    if dtype.kind == "f":
        return "there are none"
    limits = np.iinfo(dtype)
    low, high = limits.min if form.low is None else form.low, limits.max if form.high is None else form.high
    if form.saturate == "clip":
        return f"{low} or {high}" if low > limits.min or low == 0 else f"{high}"
    return {"keep": "their lowest bits", "error": "an error"}[form.saturate]


def option_default(option: Option) -> str:
    """Return the default of an option as a word that can be typed."""
    if isinstance(option.default, bool):
        return "yes" if option.default else "no"
    return str(option.default)


def option_values(option: Option) -> str:
    """Return in words what values an option takes."""
    if option.choices:
        return " or ".join(map(str, option.choices))
    kinds = {bool: "yes or no", int: "a whole number", float: "a number", str: "a text"}
    return kinds[type(option.default)]
