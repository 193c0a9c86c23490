# SPDX-License-Identifier: MIT
"""A scan as X-Spectrum's Lambda writes it: a master whose virtual dataset joins the files of the modules.

Source: what fabio (``lambdaimage``) and dxtbx (``FormatHDF5Lambda``) read.
"""

from __future__ import annotations

import os
from typing import Any

import h5py
import numpy as np

from fastlegacy.testing.experiment import Experiment
from fastlegacy.testing.files import Array, StrPath, create_file, write_stack

__all__ = ["lambda_scan"]

_DETECTOR = "/entry/instrument/detector"


_LAMBDA = Experiment(
    distance_m=None,
    pixel_x_m=5.5e-05,
    pixel_y_m=5.5e-05,
    sensor_thickness_m=0.0005,
    sensor_material="GaAs",
    saturation_counts=4095,
    detector="Lambda",
    serial_number=None,
    start_time=None,
)


def lambda_scan(
    folder: StrPath,
    frames: Array,
    *,
    modules: int = 3,
    gap: int = 4,
    experiment: Experiment = _LAMBDA,
    name: str = "scan",
) -> str:
    """Write the files of the modules, one above the other, and a master that shows them with gaps between.

    Parameters
    ----------
    folder : path-like
        Is created.
    frames : ndarray, shape (n, ny, nx)
        What the master shows; pixels in the gaps are its fill value, 0, instead.
    modules : int
    gap : int
        Rows between two modules.
    experiment : Experiment
        Pixels and sensor stand in micrometres, all values are lists of one.
    name : str
        Of the scan.

    Returns
    -------
    str
        ``folder/scan.nxs::/entry/instrument/detector/data``.
    """
    os.makedirs(folder, exist_ok=True)
    rows = (frames.shape[1] - gap * (modules - 1)) // modules
    layout = h5py.VirtualLayout(frames.shape, frames.dtype)
    for module in range(modules):
        place = slice(module * (rows + gap), module * (rows + gap) + rows)
        source = f"{name}_m{module + 1:02d}.nxs"
        part = frames[:, place]
        write_stack(os.path.join(folder, source), part, f"{_DETECTOR}/data", filters="bslz4")
        layout[:, place] = h5py.VirtualSource(source, f"{_DETECTOR}/data", part.shape, frames.dtype)
    master = os.path.join(folder, f"{name}.nxs")
    with create_file(master, libver="latest") as file:
        file.create_virtual_dataset(f"{_DETECTOR}/data", layout)
        file[f"{_DETECTOR}/layout"] = np.array([f"{frames.shape[2]}X{frames.shape[1]}".encode()])
        for field, value in _values(experiment).items():
            if value is not None:
                file[f"{_DETECTOR}/{field}"] = np.array([value.encode() if isinstance(value, str) else value])
        if experiment.start_time is not None:
            file["entry/start_time"] = experiment.start_time
        file[f"{_DETECTOR}/collection/frame_numbers"] = np.array([len(frames)])
    return f"{master}::{_DETECTOR}/data"


def _values(experiment: Experiment) -> dict[str, Any]:
    return {
        "description": experiment.detector,
        "serial_number": experiment.serial_number,
        "x_pixel_size": _micrometres(experiment.pixel_x_m),
        "y_pixel_size": _micrometres(experiment.pixel_y_m),
        "sensor_thickness": _micrometres(experiment.sensor_thickness_m),
        "sensor_material": experiment.sensor_material,
        "saturation_value": experiment.saturation_counts,
        "distance": experiment.distance_m,
    }


def _micrometres(length_m: float | None) -> float | None:
    return None if length_m is None else round(length_m * 1e6, 9)
