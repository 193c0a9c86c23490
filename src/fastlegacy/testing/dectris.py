# SPDX-License-Identifier: MIT
"""A series as Dectris' filewriter 1 writes it: ``series_master.h5``, its images in ``series_data_000001.h5`` and on.

Source: DECTRIS, "Header Groups" of the EIGER API (https://www.dectris.com/support/downloads/header-docs/nexus/).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from fastlegacy.testing.experiment import Experiment
from fastlegacy.testing.files import Array, StrPath, create_file
from fastlegacy.testing.filters import filter_arguments

__all__ = ["dectris_series"]

_DETECTOR: Mapping[str, Any] = {
    "description": b"Dectris EIGER2 CdTe 4M",
    "detector_number": b"E-08-0000",
    "x_pixel_size": np.float32(7.5e-05),
    "y_pixel_size": np.float32(7.5e-05),
    "beam_center_x": np.float32(1034.0),
    "beam_center_y": np.float32(1081.25),
    "detector_distance": np.float32(0.15),
    "count_time": np.float32(0.09999),
    "frame_time": np.float32(0.1),
    "sensor_thickness": np.float32(0.00075),
    "sensor_material": b"CdTe",
    "threshold_energy": np.float32(21700.0),
    "bit_depth_image": np.uint32(32),
    "detectorSpecific/countrate_correction_count_cutoff": np.uint32(1000000),
    "detectorSpecific/data_collection_date": b"2026-01-01T00:00:00.000",
}
_UNITS = {
    "x_pixel_size": "m",
    "y_pixel_size": "m",
    "beam_center_x": "pixel",
    "beam_center_y": "pixel",
    "detector_distance": "m",
    "count_time": "s",
    "frame_time": "s",
    "sensor_thickness": "m",
    "threshold_energy": "eV",
}


def dectris_series(
    folder: StrPath,
    frames: Array,
    *,
    blocks: Sequence[int] = (),
    missing: Collection[int] = (),
    first: int = 1,
    numbered: bool = True,
    filters: str = "bslz4",
    step_deg: float = 0.25,
    experiment: Experiment | None = None,
    detector: Mapping[str, Any] | None = None,
    others: Mapping[str, Any] | None = None,
    asked_for: int | None = None,
    name: str = "series",
) -> str:
    """Write a master, its blocks, and what it says of detector, beam and goniometer.

    Parameters
    ----------
    folder : path-like
        Is created.
    frames : ndarray, shape (n, ny, nx)
    blocks : sequence of int
        Frames of each block; default: all in one. Empty blocks are links that lead nowhere.
    missing : collection of int
        Places of the blocks, from 0, whose files are not written.
    first : int
        Number of the first block: 1, or 0 as some facilities have it.
    numbered : bool
        Blocks have the attributes ``image_nr_low`` and ``image_nr_high``.
    filters : str
        Of the blocks.
    step_deg : float
        Rotation of omega from image to image, which begins at 0.
    experiment : Experiment, optional
        What the master says, all of it: instead of an Eiger's usual values, and of `step_deg`.
    detector : mapping of str to object
        What stands below ``/entry/instrument/detector`` instead of, or beside, an Eiger's usual values; None: nothing.
    others : mapping of str to object
        Paths below ``/entry``, and what stands there.
    asked_for : int, optional
        Images in ``nimages``; default: as many as there are frames.
    name : str
        Of the series.

    Returns
    -------
    str
        ``folder/series_master.h5::/entry/data``.
    """
    os.makedirs(folder, exist_ok=True)
    master = os.path.join(folder, f"{name}_master.h5")
    with create_file(master) as file:
        file.create_group("entry").attrs["NX_class"] = "NXentry"
        file.create_group("entry/data").attrs["NX_class"] = "NXdata"
        at = 0
        for place, length in enumerate(blocks or (len(frames),)):
            link = f"data_{first + place:06d}"
            source = f"{name}_{link}.h5"
            file[f"entry/data/{link}"] = h5py.ExternalLink(source, "/entry/data/data")
            if length and place not in missing:
                part = frames[at : at + length]
                _write_block(os.path.join(folder, source), part, filters, at + 1 if numbered else None)
            at += length
        said = {} if experiment is None else _detector_values(experiment)
        _write_detector(file, said, detector or {}, len(frames) if asked_for is None else asked_for)
        _write_beam(file, 0.2854 if experiment is None else experiment.wavelength_angstrom)
        if experiment is None:
            _write_rotation(file, len(frames), 0.0, step_deg)
        elif experiment.start_deg is not None and experiment.step_deg is not None:
            _write_rotation(file, len(frames), experiment.start_deg, experiment.step_deg)
        for path, value in (others or {}).items():
            if f"entry/{path}" in file:
                del file[f"entry/{path}"]
            if value is not None:
                file[f"entry/{path}"] = value
    return f"{master}::/entry/data"


def _write_block(path: str, frames: Array, filters: str, low: int | None) -> None:
    with create_file(path) as file:
        options = filter_arguments(filters)
        data = file.create_dataset("entry/data/data", data=frames, chunks=(1, *frames.shape[1:]), **options)
        if low is not None:
            data.attrs["image_nr_low"] = np.int32(low)
            data.attrs["image_nr_high"] = np.int32(low + len(frames) - 1)


def _detector_values(experiment: Experiment) -> dict[str, Any]:
    """In single precision, as Dectris writes them."""
    numbers = {
        "x_pixel_size": experiment.pixel_x_m,
        "y_pixel_size": experiment.pixel_y_m,
        "beam_center_x": experiment.corner_x_px,
        "beam_center_y": experiment.corner_y_px,
        "detector_distance": experiment.distance_m,
        "count_time": experiment.exposure_s,
        "frame_time": experiment.period_s,
        "sensor_thickness": experiment.sensor_thickness_m,
        "threshold_energy": experiment.threshold_ev,
    }
    texts = {
        "description": experiment.detector,
        "detector_number": experiment.serial_number,
        "sensor_material": experiment.sensor_material,
        "detectorSpecific/data_collection_date": experiment.start_time,
    }
    cutoff = experiment.saturation_counts
    return {
        **{name: None if number is None else np.float32(number) for name, number in numbers.items()},
        **{name: None if text is None else text.encode() for name, text in texts.items()},
        "detectorSpecific/countrate_correction_count_cutoff": None if cutoff is None else np.uint32(cutoff),
    }


def _write_detector(file: Any, said: Mapping[str, Any], changes: Mapping[str, Any], asked_for: int) -> None:
    home = "entry/instrument/detector"
    values = {**_DETECTOR, **said, "detectorSpecific/nimages": asked_for, "detectorSpecific/ntrigger": 1, **changes}
    for name, value in values.items():
        if value is None:
            continue
        file[f"{home}/{name}"] = value
        if name in _UNITS and name not in changes:
            file[f"{home}/{name}"].attrs["units"] = np.bytes_(_UNITS[name])


def _write_beam(file: Any, wavelength_angstrom: float | None) -> None:
    if wavelength_angstrom is not None:
        file["entry/instrument/beam/incident_wavelength"] = np.float32(wavelength_angstrom)


def _write_rotation(file: Any, frames: int, start_deg: float, step_deg: float) -> None:
    home = "entry/sample/goniometer"
    omega = start_deg + np.arange(frames) * step_deg
    file[f"{home}/omega"] = omega
    file[f"{home}/omega_end"] = omega + step_deg
    file[f"{home}/omega_increment"] = step_deg
    file[f"{home}/omega_range_average"] = step_deg
    for axis in ("chi", "kappa", "phi"):
        file[f"{home}/{axis}"] = np.zeros(frames)
