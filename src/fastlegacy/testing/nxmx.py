# SPDX-License-Identifier: MIT
"""Files of the NeXus definition NXmx: as Diamond writes them, and as Dectris' filewriter 2 does, with channels.

Source: NeXus manual, NXmx, NXdetector_module and NXtransformations; DECTRIS, "FileWriter V2".
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from fastlegacy.testing.files import Array, StrPath, create_file, write_stack

__all__ = ["CHANNELS", "filewriter2_series", "nxmx_scan"]

CHANNELS = ("threshold_1", "threshold_2", "difference")
"""Names that filewriter 2 gives to the channels of an Eiger 2."""

_DETECTOR = "entry/instrument/detector"
_ARM = f"/{_DETECTOR}/transformations"


def nxmx_scan(
    folder: StrPath,
    frames: Array,
    *,
    files: int = 2,
    beam_px: tuple[float, float] = (12.0, 8.0),
    distance_mm: float = 289.3,
    two_theta_deg: float = 0.0,
    step_deg: float = 0.1,
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
        Rotation of omega from image to image.
    name : str
        Of the scan.

    Returns
    -------
    str
        ``folder/scan.nxs::/entry/data/data``.
    """
    os.makedirs(folder, exist_ok=True)
    master = os.path.join(folder, f"{name}.nxs")
    pixel_m = 7.5e-05
    with create_file(master, libver="latest") as file:
        _write_entry(file)
        _write_images(file, folder, frames, files, name)
        _field(file, f"{_ARM}/two_theta", two_theta_deg, "deg", "rotation", (0, 1, 0), ".")
        _field(file, f"{_ARM}/det_z", distance_mm, "mm", "translation", (0, 0, 1), f"{_ARM}/two_theta")
        module = f"/{_DETECTOR}/module"
        # NeXus looks from the source: x to the left, so that rows run along -x, and columns along -y
        _field(file, f"{module}/module_offset", 0.0, "m", "translation", (1, 0, 0), f"{_ARM}/det_z")
        file[f"{module}/module_offset"].attrs["offset"] = (beam_px[0] * pixel_m, beam_px[1] * pixel_m, 0.0)
        _write_pixels(file, module, pixel_m, f"{module}/module_offset", frames.shape[-2:])
        file[f"{_DETECTOR}/depends_on"] = f"{_ARM}/det_z"
        _write_facts(file)
        _write_goniometer(file, len(frames), step_deg)
    return f"{master}::/entry/data/data"


def filewriter2_series(
    folder: StrPath,
    frames: Array,
    *,
    channels: Sequence[str] = CHANNELS,
    files: int = 2,
    step_deg: float = 0.25,
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
        Rotation of omega from image to image.
    name : str
        Of the series.

    Returns
    -------
    str
        ``folder/series_master.h5::/entry/data/data``.
    """
    os.makedirs(folder, exist_ok=True)
    master = os.path.join(folder, f"{name}_master.h5")
    with create_file(master, libver="latest") as file:
        _write_entry(file)
        _write_images(file, folder, frames, files, name)
        file["entry/data/channel"] = [channel.encode() for channel in channels]
        file["entry/data/image_id"] = np.arange(1, len(frames) + 1)
        for number, channel in enumerate(channels):
            home = f"{_DETECTOR}/{channel}_channel"
            energies = [10000.0, 20000.0] if channel == "difference" else 10000.0 * (number + 1)
            _with_units(file, f"{home}/threshold_energy", energies, "eV")
            if channel != "difference":
                file[f"{home}/pixel_mask"] = np.zeros(frames.shape[-2:], "u4")
        for name_of, value in (("beam_center_x", 12.0), ("beam_center_y", 8.0)):
            _with_units(file, f"{_DETECTOR}/{name_of}", np.float32(value), "pixel")
        for name_of, value in (("x_pixel_size", 7.5e-05), ("y_pixel_size", 7.5e-05), ("distance", 0.15)):
            _with_units(file, f"{_DETECTOR}/{name_of}", np.float32(value), "m")
        _write_facts(file)
        _write_goniometer(file, len(frames), step_deg)
    return f"{master}::/entry/data/data"


def _write_entry(file: Any) -> None:
    for path, kind in (("entry", "NXentry"), ("entry/data", "NXdata"), ("entry/sample", "NXsample")):
        file.create_group(path).attrs["NX_class"] = kind
    file["entry/definition"] = "NXmx"
    file["entry/start_time"] = "2026-03-01T12:00:00Z"
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


def _write_pixels(file: Any, module: str, pixel_m: float, depends_on: str, shape: tuple[int, ...]) -> None:
    file[module].attrs["NX_class"] = "NXdetector_module"
    _field(file, f"{module}/fast_pixel_direction", pixel_m, "m", "translation", (-1, 0, 0), depends_on)
    _field(file, f"{module}/slow_pixel_direction", pixel_m, "m", "translation", (0, -1, 0), depends_on)
    file[f"{module}/data_origin"] = [0, 0]
    file[f"{module}/data_size"] = list(shape)


def _write_facts(file: Any) -> None:
    _with_units(file, f"{_DETECTOR}/count_time", 0.004, "s")
    _with_units(file, f"{_DETECTOR}/frame_time", 0.005, "s")
    _with_units(file, f"{_DETECTOR}/sensor_thickness", 450.0, "um")
    file[f"{_DETECTOR}/sensor_material"] = "Si"
    file[f"{_DETECTOR}/description"] = "Eiger 16M"
    file[f"{_DETECTOR}/serial_number"] = "E-32-0117"
    file[f"{_DETECTOR}/saturation_value"] = 65534
    _with_units(file, "entry/instrument/beam/incident_wavelength", 0.97625, "angstrom")
    file["entry/instrument/beam"].attrs["NX_class"] = "NXbeam"


def _write_goniometer(file: Any, frames: int, step_deg: float) -> None:
    home = "/entry/sample/transformations"
    omega = 10 + np.arange(frames) * step_deg
    file["entry/sample/depends_on"] = f"{home}/phi"
    _field(file, f"{home}/omega", omega, "deg", "rotation", (-1, 0, 0), ".")
    _field(file, f"{home}/phi", 0.5, "rad", "rotation", (-1, 0, 0), f"{home}/omega")
    file[home].attrs["NX_class"] = "NXtransformations"
    _with_units(file, f"{home}/omega_end", omega + step_deg, "deg")
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
