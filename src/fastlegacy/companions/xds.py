# SPDX-License-Identifier: MIT
"""XDS.INP: what XDS has to be told of the frames, with what nobody knows set apart for the user to check.

Source: "XDS: Input Parameters" (https://xds.mr.mpg.de/html_doc/xds_parameters.html) and the XDS wiki. XDS counts
pixels from 1, so that the centre of the first pixel is at 1.0. A rectangle's limits are the first pixels that are
trusted again, on each side. The rotation per frame is positive: a scan that goes back turns about the opposite axis.
Images are numbered from 1 on. Marccd and Rayonix images are those of the detector CCDCHESS.

The laboratory has x along the rows of the image, y down its columns and z along the beam, and the crystal turns about
x. Where the rotation axis is another, the user has to say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from fastlegacy.companions._masked import Rectangle, frame_mask, full_bands
from fastlegacy.companions._needs import beam_px, known, unsaid
from fastlegacy.companions.scene import Scene

__all__ = ["COMPANION", "XdsInput"]

_MOST_RECTANGLES = 500

# name of the layout -> a value below all those that it may clip pixels to
_HIGHEST: Mapping[str, int] = MappingProxyType({"cbf": 2**30 - 2, "smv": 65534, "mccd": 65534})
_DETECTORS: Mapping[str, str] = MappingProxyType({"cbf": "PILATUS", "smv": "ADSC", "mccd": "CCDCHESS"})

# XDS takes a word up to a blank for a value, ! for the begin of a comment, and ? for a digit
_FORBIDDEN = frozenset(' \t\n\r!?="')


class XdsInput:
    """See the module."""

    name = "xds"
    summary = "XDS.INP"
    readers = ("XDS", "XDSGUI")
    warns = True

    def missing(self, scene: Scene) -> tuple[str, ...]:
        """Return what nobody said."""
        words = ("distance", "wavelength", "direct beam", "pixel size", "start angle", "step angle")
        missing = list(unsaid(scene, *words, layouts=tuple(_DETECTORS)))
        if scene.facts.geometry.step_deg == 0:
            missing.append("step angle other than 0")
        if scene.template("?") is None:
            missing.append("numbers of one length in the names")
        if not _FORBIDDEN.isdisjoint(scene.stem) or not scene.stem.isprintable():
            missing.append("stem without blanks and special characters")
        if scene.last < 1:
            missing.append("numbers from 1 on")
        return tuple(missing)

    def files(self, scene: Scene) -> dict[str, bytes]:
        """Return ``XDS.INP``."""
        lines = [
            "! written by fastlegacy",
            *_images(scene),
            *_experiment(scene),
            *_detector(scene),
            *_untrusted(scene),
            *_to_check(scene),
        ]
        return {"XDS.INP": ("\n".join(lines) + "\n").encode()}


def _images(scene: Scene) -> Iterator[str]:
    first = max(scene.first, 1)
    yield "JOB= XYCORR INIT COLSPOT IDXREF DEFPIX INTEGRATE CORRECT"
    yield f"NAME_TEMPLATE_OF_DATA_FRAMES= {scene.template('?')}"
    if scene.first < 1:
        yield "! XDS counts images from 1: the file with number 0 is left out"
    yield f"DATA_RANGE= {first} {scene.last}"
    yield f"SPOT_RANGE= {first} {first + (scene.last - first) // 2}"
    yield f"STARTING_FRAME= {first}"


def _experiment(scene: Scene) -> Iterator[str]:
    geometry = scene.facts.geometry
    step_deg = known(geometry.step_deg, scene)
    turn = 1 if step_deg >= 0 else -1
    start_deg = known(geometry.start_deg, scene) + (max(scene.first, 1) - scene.first) * step_deg
    yield f"STARTING_ANGLE= {_number(turn * start_deg)}"
    yield f"OSCILLATION_RANGE= {_number(turn * step_deg)}"
    yield f"X-RAY_WAVELENGTH= {_number(known(geometry.wavelength_angstrom, scene))}"
    yield f"DETECTOR_DISTANCE= {_number(1e3 * known(geometry.distance_m, scene))}"
    x_px, y_px = beam_px(scene)
    yield f"ORGX= {_number(x_px + 1)} ORGY= {_number(y_px + 1)}"


def _detector(scene: Scene) -> Iterator[str]:
    geometry = scene.facts.geometry
    ny, nx = scene.frame_shape
    pedestal = _pedestal(scene)
    detector = _DETECTORS[scene.layout]
    if detector == "PILATUS" and "eiger" in (geometry.detector or "").lower():
        detector = "EIGER"
    lowest = 1 if pedestal else 0
    yield f"DETECTOR= {detector} MINIMUM_VALID_PIXEL_VALUE= {lowest} OVERLOAD= {_overload(scene, pedestal)}"
    if pedestal:
        yield f"! valid pixels are lifted by {pedestal}, so that 0 stands for gaps only"
    elif scene.layout != "cbf":
        yield "! 0 stands for gaps and for no counts alike; frames with a pedestal tell them apart"
    pixel_mm = (1e3 * known(geometry.pixel_x_m, scene), 1e3 * known(geometry.pixel_y_m, scene))
    yield f"NX= {nx} NY= {ny} QX= {_number(pixel_mm[0])} QY= {_number(pixel_mm[1])}"
    if geometry.sensor_thickness_m is not None:
        yield f"SENSOR_THICKNESS= {_number(1e3 * geometry.sensor_thickness_m)}"
        if geometry.sensor_material not in (None, "Si"):
            yield "! the sensor is not silicon: SILICON= has to give its absorption coefficient (1/mm)"


def _untrusted(scene: Scene) -> Iterator[str]:
    masked = frame_mask(scene)
    bands = [] if masked is None else full_bands(masked)
    kept = set(sorted(bands, key=lambda band: -band.area)[:_MOST_RECTANGLES])
    yield from (f"UNTRUSTED_RECTANGLE= {_limits(band)}" for band in bands if band in kept)


def _limits(band: Rectangle) -> str:
    return f"{band.left} {band.right + 1} {band.top} {band.bottom + 1}"


def _to_check(scene: Scene) -> Iterator[str]:
    step_deg = known(scene.facts.geometry.step_deg, scene)
    yield "! not known to fastlegacy, please check"
    yield f"ROTATION_AXIS= {'1' if step_deg >= 0 else '-1'} 0 0"
    yield "INCIDENT_BEAM_DIRECTION= 0 0 1"
    yield "DIRECTION_OF_DETECTOR_X-AXIS= 1 0 0"
    yield "DIRECTION_OF_DETECTOR_Y-AXIS= 0 1 0"
    yield "FRACTION_OF_POLARIZATION= 0.99"
    yield "POLARIZATION_PLANE_NORMAL= 0 1 0"
    yield "SPACE_GROUP_NUMBER= 0"


def _pedestal(scene: Scene) -> int:
    return 0 if scene.layout == "cbf" else int(scene.facts.options.get("pedestal", 0))


def _overload(scene: Scene, pedestal: int) -> int:
    # the highest value of the stored type is what saturated or masked pixels have
    dtype = scene.facts.dtype
    highest = (1 << (8 * dtype.itemsize - (dtype.kind == "i"))) - 2 if dtype.kind in "iu" else _HIGHEST["cbf"]
    saturation = scene.facts.geometry.saturation_counts
    return min((highest if saturation is None else saturation) + pedestal, _HIGHEST[scene.layout])


def _number(value: float) -> str:
    return f"{value:.10g}"


COMPANION = XdsInput()
