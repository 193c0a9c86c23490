# SPDX-License-Identifier: MIT
"""What users choose of formats, their options and pixels, as words or as Python's values: checked, and made plain."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from fastlegacy.errors import LayoutError, UrlError
from fastlegacy.faces.format_facts import option_values
from fastlegacy.model import Layout, Option
from fastlegacy.pixels import PixelPolicy, Saturate
from fastlegacy.registry import plugins

__all__ = ["layouts_of", "option_value", "options_of", "pixel_code", "pixel_policy"]

_CODES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8")
_KINDS = {"u": "uint", "i": "int", "f": "float"}
_NAMES = {f"{_KINDS[code[0]]}{8 * int(code[1])}": code for code in _CODES}
_TRUTH = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
_SATURATE: tuple[Saturate, ...] = get_args(Saturate)


def layouts_of(format: str | Iterable[str]) -> dict[str, Layout]:
    """Return the layouts of ``"edf"``, ``"edf,cbf"`` or ``["edf", "cbf"]`` by their names, in this order.

    Raises
    ------
    LayoutError
        If there is no such format, or none is named.
    """
    known: dict[str, Layout] = plugins("fastlegacy.layouts", "LAYOUT")
    words = format.split(",") if isinstance(format, str) else list(format)
    names = [word.strip() for word in words]
    for name in names or [""]:
        if name not in known:
            raise LayoutError(f"there is no format {name!r}", hint=f"there are {', '.join(known)}")
    return {name: known[name] for name in names}


def options_of(layouts: Mapping[str, Layout], given: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """Return the options of each layout: name of the layout -> name of the option -> value.

    Parameters
    ----------
    layouts : mapping
        Those that files are made by.
    given : mapping
        Option -> its value, or a word for it. ``"cbf:md5"`` is the option of one format, ``"md5"`` that of each
        format that has it.

    Raises
    ------
    UrlError
        If no layout has such an option, or a value is none of it.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in layouts}
    # what is said of one format counts more than what is said of all, in whatever order
    for key in sorted(given, key=lambda key: ":" in key):
        format, colon, option = key.rpartition(":")
        owners = [name for name in ([format] if colon else layouts) if option in _options(layouts, name)]
        if not owners:
            raise _no_option(layouts, key)
        for name in owners:
            found[name][option] = option_value(key, layouts[name].options[option], given[key])
    return found


def _options(layouts: Mapping[str, Layout], name: str) -> Mapping[str, Option]:
    return layouts[name].options if name in layouts else {}


def _no_option(layouts: Mapping[str, Layout], key: str) -> UrlError:
    prefix = len(layouts) > 1
    names = [f"{name}:{option}" if prefix else option for name in layouts for option in layouts[name].options]
    hint = f"there are {', '.join(names)}" if names else "it has none" if not prefix else "they have none"
    return UrlError(f"there is no option {key!r} of {', '.join(layouts)}", hint=hint)


def option_value(name: str, option: Option, given: object) -> bool | int | float | str:
    """Return the value of an option in its type, from a value or a word for it.

    Raises
    ------
    UrlError
        If it has another type, or is none of the choices.
    """
    value = _typed(given, type(option.default))
    if value is None or (option.choices and value not in option.choices):
        raise UrlError(f"{given!r} is no value of the option {name!r}", hint=f"give {option_values(option)}")
    return value


def _typed(given: object, kind: type) -> bool | int | float | str | None:
    if isinstance(given, str) and kind is not str:
        return _from_word(given, kind)
    if kind is float and isinstance(given, int | float) and not isinstance(given, bool):
        return float(given)
    return given if type(given) is kind and isinstance(given, bool | int | str) else None


def _from_word(word: str, kind: type) -> bool | int | float | None:
    if kind is bool:
        return _TRUTH.get(word.lower())
    try:
        number: int | float = kind(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def pixel_policy(
    mask_value: float | None = None, saturate: str | None = None, dtype: object | None = None
) -> PixelPolicy:
    """Return what the user wants of pixels.

    Parameters
    ----------
    mask_value : number, optional
    saturate : {"clip", "keep", "error"}, optional
    dtype : dtype or its name or code, optional

    Raises
    ------
    UrlError
        If one of them is something else.
    """
    how = next((word for word in _SATURATE if word == saturate), None)
    if saturate is not None and how is None:
        raise UrlError(f"saturate={saturate!r} is not understood", hint=f"give one of {', '.join(_SATURATE)}")
    return PixelPolicy(mask_value, how, None if dtype is None else pixel_code(dtype))


def pixel_code(dtype: object) -> str:
    """Return the NumPy code of a type of pixels, without byte order: ``"i4"`` for ``int32``, ``"<i4"``, ``np.int32``.

    Raises
    ------
    UrlError
        If pixels cannot have this type.
    """
    import numpy as np

    code = dtype.strip().lower() if isinstance(dtype, str) else np.dtype(dtype).str  # type: ignore[call-overload]
    code = _NAMES.get(code, code.lstrip("<>|="))
    if code not in _CODES:
        raise UrlError(f"pixels cannot be of type {dtype!r}", hint=f"give one of {', '.join((*_CODES, *_NAMES))}")
    return str(code)
