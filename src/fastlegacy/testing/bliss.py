# SPDX-License-Identifier: MIT
"""A scan as ESRF's bliss and LImA write it: a master with a virtual dataset over ``scan0001/eiger_0000.h5`` and on."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from fastlegacy.testing.files import Array, StrPath, create_file
from fastlegacy.testing.filters import filter_arguments
from fastlegacy.testing.storage import stored_chunk

__all__ = ["bliss_dataset", "bliss_scan"]

_LIMA = "/entry_0000/measurement/data"


def bliss_scan(
    folder: StrPath,
    frames: Array,
    *,
    files: int = 2,
    frames_per_file: int | None = None,
    filters: str = "bslz4",
    detector: str = "eiger",
    written: int | None = None,
    name: str = "sample_0001.h5",
) -> str:
    """Write a scan like ID11's ``RAW_DATA/sample/sample_0001/sample_0001.h5`` with its ``scan0001`` folder.

    Each distinct frame is compressed once and then stored as often as it is needed, so that a scan of 100 files of
    1000 small frames is there in seconds.

    Parameters
    ----------
    folder : path-like
        Is created.
    frames : ndarray, shape (n, ny, nx)
        What the scan consists of, from the first again after the last where the scan is longer.
    files : int
        Number of LImA files.
    frames_per_file : int, optional
        Default: so many that each of `frames` is there once; the last file may have fewer then.
    filters : str
        Of the LImA files.
    detector : str
        Its name in the master and in the files' names.
    written : int, optional
        Frames that the detector has written; the rest are unallocated, as LImA prepares them. Default: all.
    name : str
        The master's.

    Returns
    -------
    str
        ``folder/sample_0001.h5::/1.1/measurement/eiger``. Frame i is ``frames[i % n]``.
    """
    each = frames_per_file or -(-len(frames) // files)
    total = each * files if frames_per_file else len(frames)
    scan = os.path.join(folder, "scan0001")
    os.makedirs(scan, exist_ok=True)
    chunks = [stored_chunk(frame[None], filters) for frame in frames]
    layout = h5py.VirtualLayout((total, *frames.shape[1:]), frames.dtype)
    for i, first in enumerate(range(0, total, each)):
        source = os.path.join("scan0001", f"{detector}_{i:04d}.h5")
        length = min(each, total - first)
        stop = min(first + length, total if written is None else written)
        _write_lima(os.path.join(folder, source), frames, chunks, (first, length, stop), filters, detector)
        layout[first : first + length] = h5py.VirtualSource(source, _LIMA, (length, *frames.shape[1:]), frames.dtype)
    path = os.path.join(folder, name)
    _write_master(path, layout, total, detector)
    return f"{path}::/1.1/measurement/{detector}"


def bliss_dataset(
    folder: StrPath,
    scans: Mapping[str, Array],
    *,
    frames_per_file: int = 2,
    detector: str = "eiger",
    moved: Mapping[str, Sequence[float]] | None = None,
    positions: Mapping[str, float] | None = None,
    units: Mapping[str, str] | None = None,
    counters: Mapping[str, Sequence[float]] | None = None,
    moved_in: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    counters_in: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    running: Collection[str] = (),
    name: str = "sample_0001.h5",
) -> str:
    """Write a file with several scans, and what bliss records in each: positioners, counters, parameters.

    Parameters
    ----------
    folder : path-like
        Is created.
    scans : mapping of str to ndarray, shape (n, ny, nx) or (n, thresholds, ny, nx)
        Name of the scan, such as ``"1.1"`` or the sub-scan ``"2.2"``, and its frames.
    frames_per_file : int
        Of LImA's files.
    detector : str
    moved : mapping of str to sequence of float
        Name of a motor, and where it was at each frame: recorded in ``measurement``, in ``instrument/NAME/value`` and
        in the positioners.
    positions : mapping of str to float
        Motors that stood still.
    units : mapping of str to str
        Of the motors.
    counters : mapping of str to sequence of float
        Name of a counter, and its reading at each frame. fscan's ``rot_center`` and ``rot_delta`` are counters too.
    moved_in, counters_in : mapping of str to mapping
        Name of a scan, and what moved and was counted in it besides.
    running : collection of str
        Scans that have no end yet.
    name : str
        The master's.

    Returns
    -------
    str
        Path of the master.
    """
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with create_file(path, libver="latest") as file:
        file.attrs["creator"] = "blissdata"
    for number, (scan, frames) in enumerate(scans.items()):
        layout = h5py.VirtualLayout(frames.shape, frames.dtype)
        chunks = [stored_chunk(frame[None], "bslz4") for frame in frames]
        for i, first in enumerate(range(0, len(frames), frames_per_file)):
            source = os.path.join(f"scan{number + 1:04d}", f"{detector}_{i:04d}.h5")
            length = min(frames_per_file, len(frames) - first)
            os.makedirs(os.path.dirname(os.path.join(folder, source)), exist_ok=True)
            place = (first, length, first + length)
            _write_lima(os.path.join(folder, source), frames, chunks, place, "bslz4", detector)
            shape = (length, *frames.shape[1:])
            layout[first : first + length] = h5py.VirtualSource(source, _LIMA, shape, frames.dtype)
        with h5py.File(path, "r+", libver="latest", locking=False) as file:
            group = file.create_group(scan)
            _write_scan(group, layout, detector)
            if scan in running:
                del group["end_time"]
            _write_motors(group, {**(moved or {}), **(moved_in or {}).get(scan, {})}, positions or {}, units or {})
            for counter, values in {**(counters or {}), **(counters_in or {}).get(scan, {})}.items():
                group[f"instrument/{counter}/data"] = np.asarray(values)
                group[f"measurement/{counter}"] = h5py.SoftLink(f"{group.name}/instrument/{counter}/data")
    return path


def _write_motors(
    group: Any, moved: Mapping[str, Sequence[float]], positions: Mapping[str, float], units: Mapping[str, str]
) -> None:
    for motor, values in moved.items():
        group[f"instrument/{motor}/value"] = np.asarray(values, dtype="f8")
        group[f"instrument/positioners/{motor}"] = np.asarray(values, dtype="f8")
        group[f"instrument/positioners_start/{motor}"] = float(values[0])
        group[f"measurement/{motor}"] = h5py.SoftLink(f"{group.name}/instrument/{motor}/value")
    for motor, value in positions.items():
        group[f"instrument/positioners/{motor}"] = value
        group[f"instrument/positioners_start/{motor}"] = value
    for motor, unit in units.items():
        if motor not in group["instrument/positioners"]:
            continue
        group[f"instrument/positioners/{motor}"].attrs["units"] = unit
        if motor in moved:
            group[f"instrument/{motor}/value"].attrs["units"] = unit


def _write_lima(
    path: str, frames: Array, chunks: list[bytes], place: tuple[int, int, int], filters: str, detector: str
) -> None:
    """Write one LImA file; `place`: the scan's first frame in it, frames in it, the scan's first unwritten frame."""
    first, length, stop = place
    shape = frames.shape[1:]
    with create_file(path) as file:
        file.attrs.update({"NX_class": "NXroot", "creator": "LIMA-1.10.0", "default": "entry_0000"})
        home = f"/entry_0000/ESRF-ID11/{detector}"
        data = file.create_dataset(
            f"{home}/data",
            shape=(length, *shape),
            maxshape=(None, *shape),
            dtype=frames.dtype,
            chunks=(1, *shape),
            **filter_arguments(filters),
        )
        data.attrs["interpretation"] = "image"
        for frame in range(first, stop):
            data.id.write_direct_chunk((frame - first, *(0 for _ in shape)), chunks[frame % len(chunks)])
        file[_LIMA] = h5py.SoftLink(f"{home}/data")
        _write_facts(file, home, length)


def _write_facts(file: Any, home: str, length: int) -> None:
    file["/entry_0000/title"] = "Lima 2D detector acquisition"
    file["/entry_0000/start_time"] = "2026-03-01T12:00:00.000000+0100"
    file[f"{home}/acquisition/exposure_time"] = 0.01
    file[f"{home}/acquisition/nb_frames"] = length
    file[f"{home}/detector_information/model"] = "Dectris EIGER2 CdTe 4M"
    file[f"{home}/detector_information/pixel_size/xsize"] = 7.5e-05
    file[f"{home}/detector_information/pixel_size/ysize"] = 7.5e-05


def _write_master(path: str, layout: Any, total: int, detector: str) -> None:
    with create_file(path, libver="latest") as file:
        file.attrs["creator"] = "blissdata"
        scan = file.create_group("1.1")
        _write_scan(scan, layout, detector)
        scan["title"][()] = f"fscan rot 0 0.05 {total} 0.01"
        scan["instrument/rot/value"] = np.arange(total) * 0.05
        scan["measurement/rot"] = h5py.SoftLink("/1.1/instrument/rot/value")


def _write_scan(scan: Any, layout: Any, detector: str) -> None:
    """Write what every scan has, and the virtual dataset of the detector."""
    scan.attrs["NX_class"] = "NXentry"
    scan["title"] = "fscan"
    scan["start_time"] = "2026-03-01T12:00:00.000000+01:00"
    scan["end_time"] = "2026-03-01T12:01:00.000000+01:00"
    scan.create_virtual_dataset(f"instrument/{detector}/data", layout)
    scan[f"instrument/{detector}/acq_parameters/acq_expo_time"] = 0.01
    scan[f"instrument/{detector}/acq_parameters/acq_nb_frames"] = layout.shape[0]
    scan[f"measurement/{detector}"] = h5py.SoftLink(f"{scan.name}/instrument/{detector}/data")
