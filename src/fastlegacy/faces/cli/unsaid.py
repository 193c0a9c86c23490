# SPDX-License-Identifier: MIT
"""What nobody said of a stack: in, the stack and its mask; out, for each format and companion, words and options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from fastlegacy.errors import LayoutError

if TYPE_CHECKING:
    from fastlegacy.companions.scene import Companion, Scene
    from fastlegacy.hdf5.stack import Stack
    from fastlegacy.model import Geometry, Layout
    from fastlegacy.sources.masks import Mask

__all__ = ["Unsaid", "unsaid", "words_of"]

Words = Mapping[str, tuple[str, ...]]
"""What is missing, in the user's words -> the options that say it; none where no option does."""

# attribute of Geometry -> the user's word, the option
_SAID: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "distance_m": ("distance", "--distance"),
        "wavelength_angstrom": ("wavelength", "--wavelength"),
        "beam_x_px": ("direct beam", "--x0"),
        "beam_y_px": ("direct beam", "--y0"),
        "pixel_x_m": ("pixel size", "--pixelsize"),
        "pixel_y_m": ("pixel size", "--pixelsize"),
        "start_deg": ("start angle", "--startangle"),
        "angles_deg": ("start angle", "--angles"),
        "step_deg": ("step angle", "--stepangle"),
        "exposure_s": ("exposure", "--expotime"),
        "period_s": ("period", "--period"),
        "saturation_counts": ("saturation", "--saturation"),
        "detector": ("detector", "--detector"),
        "sensor_material": ("sensor", "--sensor"),
        "sensor_thickness_m": ("thickness of the sensor", "--thickness"),
        "threshold_ev": ("threshold", "--threshold"),
        "title": ("title", "--title"),
        "start_time": ("start time", "--start-time"),
        "run": ("run", "--run"),
        "motors": ("motors", "--motor"),
        "counters": ("counters", "--counter"),
    }
)
# of companions, beyond the words above
_OTHERS: Words = MappingProxyType({"mask": ("--mask",), "step angle other than 0": ("--startangle", "--stepangle")})


@dataclass(frozen=True, slots=True)
class Unsaid:
    """What is missing.

    Attributes
    ----------
    formats : mapping of str to mapping of str to tuple of str
        Name of the format -> the user's word for a value -> options that say it. All formats, also those that miss
        nothing.
    companions : mapping, likewise
        Of each companion, beside the format where it misses the least.
    """

    formats: Mapping[str, Words]
    companions: Mapping[str, Words]

    def plain(self) -> dict[str, dict[str, dict[str, list[str]]]]:
        """Return it for JSON."""
        parts = {"formats": self.formats, "companions": self.companions}
        return {
            part: {name: {word: list(options) for word, options in words.items()} for name, words in found.items()}
            for part, found in parts.items()
        }

    def rows(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Return rows of names and words with their options, for formats and for companions, of those that miss any."""
        return _rows(self.formats), _rows(self.companions)


def unsaid(stack: Stack, mask: Mask | None) -> Unsaid:
    """Return what nobody said of a stack, for all formats and companions that are registered.

    Parameters
    ----------
    stack : Stack
        With the geometry that headers would have.
    mask : Mask or None
        That of its detector.
    """
    from fastlegacy.faces.beside import companions
    from fastlegacy.registry import plugins

    layouts: dict[str, Layout] = plugins("fastlegacy.layouts", "LAYOUT")
    scenes = [scene for layout in layouts.values() for scene in _scene(stack, layout, mask)]
    return Unsaid(
        {name: words_of(layout, stack.geometry) for name, layout in layouts.items()},
        {name: _least(companion, scenes) for name, companion in companions().items() if scenes},
    )


def words_of(layout: Layout, geometry: Geometry) -> Words:
    """Return what the headers of a layout want and nobody said: the user's word -> options that say it."""
    found: dict[str, tuple[str, ...]] = {}
    for want in layout.wants:
        group = (want,) if isinstance(want, str) else want
        if all(getattr(geometry, name) in (None, {}) for name in group):
            word, option = _SAID[group[0]]
            found[word] = tuple(dict.fromkeys((*found.get(word, ()), option)))
    return found


def _scene(stack: Stack, layout: Layout, mask: Mask | None) -> Iterator[Scene]:
    from fastlegacy.faces.beside import scene_of
    from fastlegacy.index.tree import Tree

    try:
        scene = scene_of(Tree(stack, layout))
    except LayoutError:  # a format that cannot hold this stack has nothing beside it
        return
    yield replace(scene, mask=None if mask is None else mask.classes)


def _least(companion: Companion, scenes: list[Scene]) -> Words:
    return {word: _options(word) for word in min((companion.missing(scene) for scene in scenes), key=len)}


def _options(word: str) -> tuple[str, ...]:
    # angles of each frame are no start for a companion: the options that say one number
    said = [option for other, option in _SAID.values() if other == word and option != "--angles"]
    return _OTHERS.get(word, tuple(dict.fromkeys(said)))


def _rows(found: Mapping[str, Words]) -> list[tuple[str, str]]:
    alike: dict[str, list[str]] = {}
    for name, words in found.items():
        if words:
            alike.setdefault(_text(words), []).append(name)
    return [(", ".join(names), text) for text, names in alike.items()]


def _text(words: Words) -> str:
    return ", ".join(f"{word} ({', '.join(options)})" if options else word for word, options in words.items())
