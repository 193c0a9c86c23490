# SPDX-License-Identifier: MIT
"""A scan as X-Spectrum's Lambda writes it: a master whose virtual dataset joins the files of the modules.

Source: what fabio (``lambdaimage``) and dxtbx (``FormatHDF5Lambda``) read.
"""

from __future__ import annotations

import os

import h5py
import numpy as np

from fastlegacy.testing.files import Array, StrPath, create_file, write_stack

__all__ = ["lambda_scan"]

_DETECTOR = "/entry/instrument/detector"


def lambda_scan(folder: StrPath, frames: Array, *, modules: int = 3, gap: int = 4, name: str = "scan") -> str:
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
        file[f"{_DETECTOR}/description"] = np.array([b"Lambda"])
        file[f"{_DETECTOR}/layout"] = np.array([f"{frames.shape[2]}X{frames.shape[1]}".encode()])
        file[f"{_DETECTOR}/x_pixel_size"] = np.array([55.0])
        file[f"{_DETECTOR}/y_pixel_size"] = np.array([55.0])
        file[f"{_DETECTOR}/sensor_thickness"] = np.array([500.0])
        file[f"{_DETECTOR}/sensor_material"] = np.array([b"GaAs"])
        file[f"{_DETECTOR}/saturation_value"] = np.array([4095])
        file[f"{_DETECTOR}/collection/frame_numbers"] = np.array([len(frames)])
    return f"{master}::{_DETECTOR}/data"
