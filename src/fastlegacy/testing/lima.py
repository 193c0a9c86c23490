# SPDX-License-Identifier: MIT
"""Files of LImA, and of LImA2 with its thresholds, as a detector writes them: without the master of bliss.

Source: LImA's ``CtSaving_Hdf5.cpp``; for LImA2 what dxtbx reads (``FormatESRFJungfrau4M``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import h5py

from fastlegacy.testing.experiment import Experiment
from fastlegacy.testing.files import Array, StrPath, create_file
from fastlegacy.testing.filters import filter_arguments
from fastlegacy.testing.storage import stored_chunk

__all__ = ["lima2_file", "lima_file"]


def lima_file(
    path: StrPath,
    frames: Array,
    experiment: Experiment | None = None,
    *,
    filters: str = "bslz4",
    detector: str = "eiger",
    written: int | None = None,
) -> str:
    """Write a file of LImA: pixel size, exposure, model of the detector.

    Parameters
    ----------
    path : path-like
        The file; it is replaced.
    frames : ndarray, shape (n, ny, nx)
    experiment : Experiment, optional
    filters : str
        Of the images.
    detector : str
        Name of its group.
    written : int, optional
        Frames that the detector has written; the rest are unallocated, as LImA prepares them. Default: all.

    Returns
    -------
    str
        ``path::/entry_0000/ESRF-ID11/eiger/data``.
    """
    known = experiment or Experiment()
    values = {
        "detector_information/pixel_size/xsize": known.pixel_x_m,
        "detector_information/pixel_size/ysize": known.pixel_y_m,
        "detector_information/model": known.detector,
    }
    return _write(path, frames, known, values, filters, detector, written)


def lima2_file(
    path: StrPath,
    frames: Array,
    experiment: Experiment | None = None,
    *,
    filters: str = "bslz4",
    detector: str = "eiger",
    written: int | None = None,
) -> str:
    """Write a file of LImA2, which has an axis for thresholds and knows the beam.

    Parameters
    ----------
    path : path-like
        The file; it is replaced.
    frames : ndarray, shape (n, thresholds, ny, nx)
    experiment : Experiment, optional
    filters : str
        Of the images.
    detector : str
        Name of its group.
    written : int, optional
        Frames that the detector has written. Default: all.

    Returns
    -------
    str
        ``path::/entry_0000/ESRF-ID11/eiger/data``.
    """
    known = experiment or Experiment()
    values = {
        "detector_information/x_pixel_size": known.pixel_x_m,
        "detector_information/y_pixel_size": known.pixel_y_m,
        "detector_information/detector_distance": known.distance_m,
        "detector_information/beam_center_x": known.corner_x_px,
        "detector_information/beam_center_y": known.corner_y_px,
        "detector_information/saturation_value": known.saturation_counts,
        "detector_information/model": known.detector,
        "beam/incident_wavelength": known.wavelength_angstrom,
    }
    return _write(path, frames, known, values, filters, detector, written)


def _write(
    path: StrPath,
    frames: Array,
    known: Experiment,
    values: Mapping[str, Any],
    filters: str,
    detector: str,
    written: int | None,
) -> str:
    home = f"/entry_0000/ESRF-ID11/{detector}"
    shape = frames.shape[1:]
    with create_file(path) as file:
        file.attrs.update({"NX_class": "NXroot", "creator": "LIMA-1.10.0", "default": "entry_0000"})
        data = file.create_dataset(
            f"{home}/data",
            shape=frames.shape,
            maxshape=(None, *shape),
            dtype=frames.dtype,
            chunks=(1, *shape),
            **filter_arguments(filters),
        )
        data.attrs["interpretation"] = "image"
        for number, frame in enumerate(frames[:written]):
            data.id.write_direct_chunk((number, *(0 for _ in shape)), stored_chunk(frame[None], filters))
        file["/entry_0000/measurement/data"] = h5py.SoftLink(f"{home}/data")
        file["/entry_0000/title"] = "Lima 2D detector acquisition"
        times = {"/entry_0000/start_time": known.start_time, f"{home}/acquisition/exposure_time": known.exposure_s}
        for name, value in ({f"{home}/{name}": value for name, value in values.items()} | times).items():
            if value is not None:
                file[name] = value
        file[f"{home}/acquisition/nb_frames"] = len(frames)
    return f"{os.fspath(path)}::{home}/data"
