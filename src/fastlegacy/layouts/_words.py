# SPDX-License-Identifier: MIT
"""What formats of unsigned 16-bit pixels have in common: their limit, and a pedestal under the valid ones."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fastlegacy.errors import LayoutError
from fastlegacy.model import Option, StackFacts

__all__ = ["HIGHEST", "PEDESTAL", "pedestal_of"]

HIGHEST = 65535

PEDESTAL: Mapping[str, Option] = MappingProxyType(
    {"pedestal": Option(0, "added to valid pixels, so that 0 is left to gaps; the header tells it")}
)


def pedestal_of(facts: StackFacts) -> int:
    """Return the pedestal that the user wants.

    Raises
    ------
    LayoutError
        If it is negative, or leaves no room for pixels.
    """
    pedestal = int(facts.options.get("pedestal", PEDESTAL["pedestal"].default))
    if not 0 <= pedestal < HIGHEST:
        raise LayoutError(
            f"the pedestal {pedestal} is not possible in pixels of 16 bits",
            file=facts.url,
            hint=f"choose one from 0 to {HIGHEST - 1}; 1 is enough to tell a pixel without counts from a gap",
        )
    return pedestal
