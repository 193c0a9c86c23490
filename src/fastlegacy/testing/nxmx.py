# SPDX-License-Identifier: MIT
"""Files of the NeXus definition NXmx: as Diamond writes them, and as Dectris' filewriter 2 does, with channels.

Source: NeXus manual, NXmx, NXdetector_module and NXtransformations; DECTRIS, "FileWriter V2".
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import h5py
import numpy as np

from fastlegacy.testing.experiment import Experiment
from fastlegacy.testing.files import Array, StrPath, create_file, write_stack

__all__ = ["CHANNELS", "filewriter2_series", "nxmx_scan"]

CHANNELS = ("threshold_1", "threshold_2", "difference")
"""Names that filewriter 2 gives to the channels of an Eiger 2."""

_DETECTOR = "entry/instrument/detector"
_ARM = f"/{_DETECTOR}/transformations"
_DIAMOND = Experiment(
    wavelength_angstrom=0.97625,
    exposure_s=0.004,
    period_s=0.005,
    threshold_ev=None,
    saturation_counts=65534,
    sensor_material="Si",
    sensor_thickness_m=0.00045,
    detector="Eiger 16M",
    serial_number="E-32-0117",
    title=None,
    start_time="2026-03-01T12:00:00Z",
)


def nxmx_scan(
    folder: StrPath,
    frames: Array,
    *,
    files: int = 2,
    beam_px: tuple[float, float] = (12.0, 8.0),
    distance_mm: float = 289.3,
    two_theta_deg: float = 0.0,
    step_deg: float = 0.1,
    experiment: Experiment | None = None,
    name: str = "scan",
) -> str:
    """Write a master with a virtual dataset, whose detector is where a chain of transformations puts it.

    Parameters
    ----------
    folder : path-like
        Is created.
    frames : ndarray, shape (n, ny, nx)
    files : int
        Number of data files.
    beam_px : tuple of float
        Where the beam meets the detector: x, y from the corner of the first pixel.
    distance_mm : float
        Of the detector, along its arm.
    two_theta_deg : float
        Rotation of the arm about the y axis.
    step_deg : float
        Rotation of omega from image to image, which begins at 10 degrees.
    experiment : Experiment, optional
        All that the master says: instead of beam, distance and step, and of what is there without it.
    name : str
        Of the scan.

    Returns
    -------
    str
        ``folder/scan.nxs::/entry/data/data``.
    """
    os.makedirs(folder, exist_ok=True)
    master = os.path.join(folder, f"{name}.nxs")
    known = experiment or replace(
        _DIAMOND,
        corner_x_px=beam_px[0],
        corner_y_px=beam_px[1],
        distance_m=distance_mm / 1000,
        start_deg=10.0,
        step_deg=step_deg,
    )
    with create_file(master, libver="latest") as file:
        _write_entry(file, known)
        _write_images(file, folder, frames, files, name)
        _field(file, f"{_ARM}/two_theta", two_theta_deg, "deg", "rotation", (0, 1, 0), ".")
        _write_position(file, known, frames.shape[-2:])
        if known.threshold_ev is not None:
            _with_units(file, f"{_DETECTOR}/threshold_energy", known.threshold_ev, "eV")
        _write_facts(file, known)
        _write_goniometer(file, known, len(frames))
    return f"{master}::/entry/data/data"


def filewriter2_series(
    folder: StrPath,
    frames: Array,
    *,
    channels: Sequence[str] = CHANNELS,
    files: int = 2,
    step_deg: float = 0.25,
    experiment: Experiment | None = None,
    name: str = "series",
) -> str:
    """Write a master of filewriter 2, with an axis for the channels of the detector.

    Parameters
    ----------
    folder : path-like
        Is created.
    frames : ndarray, shape (n, channels, ny, nx)
    channels : sequence of str
        Their names.
    files : int
        Number of data files.
    step_deg : float
        Rotation of omega from image to image, which begins at 10 degrees.
    experiment : Experiment, optional
        All that the master says: instead of the step, and of what is there without it.
    name : str
        Of the series.

    Returns
    -------
    str
        ``folder/series_master.h5::/entry/data/data``.
    """
    os.makedirs(folder, exist_ok=True)
    master = os.path.join(folder, f"{name}_master.h5")
    known = experiment or replace(
        _DIAMOND,
        corner_x_px=12.0,
        corner_y_px=8.0,
        distance_m=0.15,
        start_deg=10.0,
        step_deg=step_deg,
        threshold_ev=1e4,
    )
    with create_file(master, libver="latest") as file:
        _write_entry(file, known)
        _write_images(file, folder, frames, files, name)
        file["entry/data/channel"] = [channel.encode() for channel in channels]
        file["entry/data/image_id"] = np.arange(1, len(frames) + 1)
        for number, channel in enumerate(channels):
            home = f"{_DETECTOR}/{channel}_channel"
            if known.threshold_ev is not None:
                energies_ev = [known.threshold_ev, 2 * known.threshold_ev]
                value = energies_ev if channel == "difference" else known.threshold_ev * (number + 1)
                _with_units(file, f"{home}/threshold_energy", value, "eV")
            if channel != "difference":
                file[f"{home}/pixel_mask"] = np.zeros(frames.shape[-2:], "u4")
        for field, number_of, units in (
            ("beam_center_x", known.corner_x_px, "pixel"),
            ("beam_center_y", known.corner_y_px, "pixel"),
            ("x_pixel_size", known.pixel_x_m, "m"),
            ("y_pixel_size", known.pixel_y_m, "m"),
            ("distance", known.distance_m, "m"),
        ):
            if number_of is not None:
                _with_units(file, f"{_DETECTOR}/{field}", np.float32(number_of), units)
        _write_facts(file, known)
        _write_goniometer(file, known, len(frames))
    return f"{master}::/entry/data/data"


def _write_entry(file: Any, known: Experiment) -> None:
    for path, kind in (("entry", "NXentry"), ("entry/data", "NXdata"), ("entry/sample", "NXsample")):
        file.create_group(path).attrs["NX_class"] = kind
    file["entry/definition"] = "NXmx"
    for name, text in (("start_time", known.start_time), ("title", known.title)):
        if text is not None:
            file[f"entry/{name}"] = text
    file.create_group(_DETECTOR).attrs["NX_class"] = "NXdetector"
    file["entry/instrument"].attrs["NX_class"] = "NXinstrument"


def _write_images(file: Any, folder: StrPath, frames: Array, files: int, name: str) -> None:
    layout = h5py.VirtualLayout(frames.shape, frames.dtype)
    each = -(-len(frames) // files)
    for number, first in enumerate(range(0, len(frames), each), 1):
        part = frames[first : first + each]
        source = f"{name}_data_{number:06d}.h5"
        write_stack(os.path.join(folder, source), part, "/entry/data/data", filters="bslz4")
        layout[first : first + each] = h5py.VirtualSource(source, "/entry/data/data", part.shape, frames.dtype)
    file.create_virtual_dataset("entry/data/data", layout)
    file["entry/data"].attrs["signal"] = "data"


def _write_position(file: Any, known: Experiment, shape: tuple[int, ...]) -> None:
    """Put the detector on its arm. NeXus has x to the left: rows run along -x, columns along -y."""
    module = f"/{_DETECTOR}/module"
    offset = f"{module}/module_offset"
    pixel_m = known.pixel_x_m or 0.0, known.pixel_y_m or 0.0
    corner_m = (known.corner_x_px or 0.0) * pixel_m[0], (known.corner_y_px or 0.0) * pixel_m[1]
    distance_mm = round(1000 * (known.distance_m or 0.0), 9)
    _field(file, f"{_ARM}/det_z", distance_mm, "mm", "translation", (0, 0, 1), f"{_ARM}/two_theta")
    _field(file, offset, 0.0, "m", "translation", (1, 0, 0), f"{_ARM}/det_z")
    file[offset].attrs["offset"] = (*corner_m, 0.0)
    file[module].attrs["NX_class"] = "NXdetector_module"
    _field(file, f"{module}/fast_pixel_direction", pixel_m[0], "m", "translation", (-1, 0, 0), offset)
    _field(file, f"{module}/slow_pixel_direction", pixel_m[1], "m", "translation", (0, -1, 0), offset)
    file[f"{module}/data_origin"] = [0, 0]
    file[f"{module}/data_size"] = list(shape)
    file[f"{_DETECTOR}/depends_on"] = f"{_ARM}/det_z"


def _write_facts(file: Any, known: Experiment) -> None:
    thickness_um = None if known.sensor_thickness_m is None else round(known.sensor_thickness_m * 1e6, 9)
    for path, value, units in (
        (f"{_DETECTOR}/count_time", known.exposure_s, "s"),
        (f"{_DETECTOR}/frame_time", known.period_s, "s"),
        (f"{_DETECTOR}/sensor_thickness", thickness_um, "um"),
        (f"{_DETECTOR}/sensor_material", known.sensor_material, None),
        (f"{_DETECTOR}/description", known.detector, None),
        (f"{_DETECTOR}/serial_number", known.serial_number, None),
        (f"{_DETECTOR}/saturation_value", known.saturation_counts, None),
        ("entry/instrument/beam/incident_wavelength", known.wavelength_angstrom, "angstrom"),
    ):
        if value is not None:
            file[path] = value
            if units is not None:
                file[path].attrs["units"] = units
    file.require_group("entry/instrument/beam").attrs["NX_class"] = "NXbeam"


def _write_goniometer(file: Any, known: Experiment, frames: int) -> None:
    home = "/entry/sample/transformations"
    omega, step_deg = known.angles_deg(frames), known.step_deg
    if omega is None or step_deg is None:
        return
    file["entry/sample/depends_on"] = f"{home}/phi"
    _field(file, f"{home}/omega", omega, "deg", "rotation", (-1, 0, 0), ".")
    _field(file, f"{home}/phi", 0.5, "rad", "rotation", (-1, 0, 0), f"{home}/omega")
    file[home].attrs["NX_class"] = "NXtransformations"
    _with_units(file, f"{home}/omega_end", [angle + step_deg for angle in omega], "deg")
    _with_units(file, f"{home}/omega_increment_set", step_deg, "deg")


def _field(file: Any, path: str, value: Any, units: str, kind: str, vector: tuple[float, ...], depends_on: str) -> None:
    _with_units(file, path, value, units)
    field = file[path]
    field.attrs["transformation_type"] = kind
    field.attrs["vector"] = np.array(vector, dtype="f8")
    field.attrs["offset"] = np.zeros(3)
    field.attrs["depends_on"] = depends_on


def _with_units(file: Any, path: str, value: Any, units: str) -> None:
    file[path] = value
    file[path].attrs["units"] = units
