# SPDX-License-Identifier: MIT
"""A rotation scan with Bragg spots, as an NXmx file that DIALS reads as it is: gaps, dead pixels and geometry included.

The groups and attributes are those of the application definition NXmx; nothing here is made by fastlegacy's readers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CELL_ANGSTROM",
    "GAP",
    "GEOMETRY",
    "SHAPE",
    "START_DEG",
    "STEP_DEG",
    "bragg_frames",
    "bragg_mask",
    "write_nxmx",
]

SHAPE = (1062, 1028)  # two modules of an Eiger, and the gap between them
GAP = 2**32 - 1
START_DEG, STEP_DEG = -90.0, 0.5
WAVELENGTH_ANGSTROM = 0.9
DISTANCE_MM, PIXEL_MM = 150.0, 0.075
CELL_ANGSTROM = 40.0
BEAM_X_PX, BEAM_Y_PX = 514.25, 530.5  # from the centre of the first pixel

GEOMETRY = (
    *("--startangle", str(START_DEG), "--stepangle", str(STEP_DEG), "--expotime", "0.1", "--period", "0.1"),
    *("--wavelength", str(WAVELENGTH_ANGSTROM), "--distance", f"{DISTANCE_MM}mm", "--pixelsize", f"{PIXEL_MM}mm"),
    *("--x0", str(BEAM_X_PX), "--y0", str(BEAM_Y_PX), "--saturation", "60000"),
    *("--detector", "Dectris EIGER2 Si 1M", "--sensor", "Si", "--thickness", "450um"),
)
"""What the command line says of the scan: the same as the NXmx file does."""


def bragg_mask(seed: int = 5) -> NDArray[np.uint32]:
    """Gaps (1), a band of them along the edge of a chip as well, and 60 dead pixels (2), some of them on spots."""
    mask = np.zeros(SHAPE, np.uint32)
    mask[512:550] = 1
    mask[:, 514:516] = 1
    dead = np.random.default_rng(seed).integers(0, mask.size, 60)
    mask.reshape(-1)[dead] |= 2
    mask[mask & 1 == 1] = 1
    return mask


def bragg_frames(n: int = 8, seed: int = 3) -> NDArray[np.uint32]:
    """Poisson noise of a background that falls off, and spots that are Gaussian in x, y and the rotation angle.

    They are those of a primitive cubic crystal (`CELL_ANGSTROM`); some lie at gaps, some on dead pixels. `bragg_mask`
    is applied with `GAP`.
    """
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    rate = 1.0 + 6.0 * np.exp(-((rows - BEAM_Y_PX) ** 2 + (columns - BEAM_X_PX) ** 2) / 300.0**2)
    rate = np.repeat(rate[None].astype(np.float32), n, axis=0)
    near = np.arange(-6, 7)
    for x, y, z in _spots(n, random):
        at_y, at_x = round(y), round(x)
        profiles = (np.exp(-((at + near - c) ** 2) / (2 * 1.2**2)) for at, c in ((at_y, y), (at_x, x)))
        rocking = np.exp(-((np.arange(n) + 0.5 - z) ** 2) / (2 * 0.6**2))
        spot = random.exponential(1500) * rocking[:, None, None] * np.multiply.outer(*profiles)
        rate[:, at_y - 6 : at_y + 7, at_x - 6 : at_x + 7] += spot
    frames = random.poisson(rate).astype(np.uint32)
    frames[:, bragg_mask() != 0] = GAP
    return frames


def _spots(n: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Where the crystal reflects: columns, rows and frames, shape (spots, 3).

    The frame of reference is that of imgCIF: the rotation axis is x, the beam goes along -z.
    """
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    steps = np.arange(-20, 21)
    indices = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    vectors = indices[indices.any(axis=1)] @ turn.T / CELL_ANGSTROM
    across = np.hypot(vectors[:, 1], vectors[:, 2])
    height = (vectors**2).sum(axis=1) * WAVELENGTH_ANGSTROM / 2  # along z, where |s1| is |s0|
    vectors, across, height = (each[np.abs(height) < across] for each in (vectors, across, height))
    spots = []
    for sign in (-1, 1):
        angle = np.arctan2(vectors[:, 1], vectors[:, 2]) + sign * np.arccos(height / across)
        y = vectors[:, 1] * np.cos(angle) - vectors[:, 2] * np.sin(angle)
        scale = DISTANCE_MM / PIXEL_MM / (1 / WAVELENGTH_ANGSTROM - height)
        frame = (np.mod(np.rad2deg(angle) - START_DEG + 180, 360) - 180) / STEP_DEG
        spots.append(np.stack([BEAM_X_PX + vectors[:, 0] * scale, BEAM_Y_PX - y * scale, frame], -1))
    found = np.concatenate(spots)
    inside = (found > (8, 8, -1)) & (found < (SHAPE[1] - 8, SHAPE[0] - 8, n + 1))
    found = found[inside.all(axis=1)]
    return found[np.hypot(found[:, 0] - BEAM_X_PX, found[:, 1] - BEAM_Y_PX) > 40]


def write_nxmx(path: Path, frames: NDArray[Any]) -> str:
    """Write frames, mask and geometry; return the url of the frames."""
    with h5py.File(path, "w") as file:
        entry = _group(file, "entry", "NXentry", default="data")
        entry["definition"] = "NXmx"
        entry["start_time"] = "2026-01-01T00:00:00Z"
        _group(entry, "data", "NXdata", signal="data").create_dataset(
            "data", data=frames, chunks=(1, *frames.shape[1:]), **hdf5plugin.Bitshuffle(cname="lz4")
        )
        _write_sample(entry, len(frames))
        _group(entry, "source", "NXsource")["name"] = "simulated"
        instrument = _group(entry, "instrument", "NXinstrument")
        instrument["name"] = "simulated"
        _value(_group(instrument, "beam", "NXbeam"), "incident_wavelength", WAVELENGTH_ANGSTROM, units="angstrom")
        _write_detector(instrument, frames.shape)
    return f"{path}::/entry/data/data"


def _write_sample(entry: Any, n: int) -> None:
    sample = _group(entry, "sample", "NXsample")
    sample["depends_on"] = "/entry/sample/transformations/omega"
    angles = START_DEG + STEP_DEG * np.arange(n)
    _axis(_group(sample, "transformations", "NXtransformations"), "omega", angles, "rotation", (-1, 0, 0), "deg", ".")


def _write_detector(instrument: Any, shape: tuple[int, ...]) -> None:
    detector = _group(instrument, "detector", "NXdetector")
    detector["depends_on"] = "/entry/instrument/detector/transformations/det_z"
    detector["description"] = "Dectris EIGER2 Si 1M"
    detector["type"] = "Pixel"
    detector["sensor_material"] = "Si"
    detector["saturation_value"] = 60000
    detector["pixel_mask"] = bragg_mask()
    for name, value, units in (
        ("sensor_thickness", 0.45, "mm"),
        ("count_time", 0.1, "s"),
        ("frame_time", 0.1, "s"),
        ("x_pixel_size", PIXEL_MM, "mm"),
        ("y_pixel_size", PIXEL_MM, "mm"),
    ):
        _value(detector, name, value, units=units)
    axes = _group(detector, "transformations", "NXtransformations")
    _axis(axes, "det_z", DISTANCE_MM, "translation", (0, 0, 1), "mm", ".")
    module = _group(detector, "module", "NXdetector_module")
    module["data_origin"] = np.array([0, 0], np.int64)
    module["data_size"] = np.array(shape[1:], np.int64)
    corner = np.array([BEAM_X_PX + 0.5, BEAM_Y_PX + 0.5, 0.0]) * PIXEL_MM
    length = float(np.linalg.norm(corner))
    z = "/entry/instrument/detector/transformations/det_z"
    _axis(module, "module_offset", length, "translation", tuple(corner / length), "mm", z)
    offset = "/entry/instrument/detector/module/module_offset"
    _axis(module, "fast_pixel_direction", PIXEL_MM, "translation", (-1, 0, 0), "mm", offset)
    _axis(module, "slow_pixel_direction", PIXEL_MM, "translation", (0, -1, 0), "mm", offset)


def _group(parent: Any, name: str, nx_class: str, **attributes: Any) -> Any:
    group = parent.create_group(name)
    group.attrs.update(NX_class=nx_class, **attributes)
    return group


def _value(parent: Any, name: str, value: Any, **attributes: Any) -> None:
    parent[name] = value
    parent[name].attrs.update(attributes)


def _axis(
    parent: Any, name: str, value: Any, kind: str, vector: tuple[float, ...], units: str, depends_on: str
) -> None:
    _value(parent, name, value, transformation_type=kind, vector=np.array(vector, float), units=units)
    parent[name].attrs.update(depends_on=depends_on, offset=np.zeros(3), offset_units="mm")
