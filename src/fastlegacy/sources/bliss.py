# SPDX-License-Identifier: MIT
"""Scans of ESRF's bliss: groups ``1.1``, ``2.1``, ... of a file, each with virtual datasets over files of LImA.

Source: bliss' documentation, "Nexus Format" (https://bliss.gitlab-pages.esrf.fr/bliss/master/data/data_nexus.html) and
fscan's, "Musst/Maestrio Calculated Counters": ``rot_center`` is the middle of a frame and ``rot_delta`` its width.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.url import DataUrl
from fastlegacy.model import Geometry
from fastlegacy.sources._bliss_motors import Motors
from fastlegacy.sources._facts import Facts
from fastlegacy.sources._images import Images, Looked, channels, group_names, images_at, series_in
from fastlegacy.sources._lima import detector_facts
from fastlegacy.sources.find import Found

__all__ = ["SOURCE", "BlissSource", "scan_of"]

# a file of a collection or a proposal links to the scans of its datasets as sample_0001_1.1
_SCAN = re.compile(r"(?:.*_)?([0-9]+)\.([0-9]+)")


class BlissSource:
    """Finds the detectors of each scan: series of images in ``measurement`` and in ``instrument/DETECTOR/data``."""

    name = "bliss"
    rank = 10

    def find(self, context: Context, file: str, path: str = "") -> Iterator[Found]:
        """Yield the detectors of each scan in the order of the scans' numbers, each once."""
        if path and (detector := _detector_of(path)):
            images = images_at(context, file, path)
            if images is not None and _SCAN.fullmatch(scan := path.split("/")[1]):
                yield from _found(path, scan, detector, images)
            return
        names = [path.split("/")[1]] if path else group_names(context, file, "/")
        scans = sorted((_number(name), name) for name in names if _SCAN.fullmatch(name))
        for _, scan in scans:
            members = group_names(context, file, f"/{scan}")
            if "measurement" in members or "instrument" in members:
                yield from self._of_scan(context, file, scan)

    def _of_scan(self, context: Context, file: str, scan: str) -> Iterator[Found]:
        seen: set[tuple[str, str]] = set()
        for path, detector, images in _candidates(context, file, scan):
            if (images.file, images.path) not in seen:
                seen.add((images.file, images.path))
                yield from _found(path, scan, detector, images)

    def geometry(self, context: Context, file: str, found: Found) -> Geometry:
        """Read rotation, motors and counters from the scan; pixel size and exposure from LImA's files too."""
        facts = Facts(context, file)
        scan = "/" + found.path.split("/")[1]
        facts.first_text("title", (f"{scan}/title",))
        facts.first_text("start_time", (f"{scan}/start_time",))
        _of_detector(facts, found.path, scan)
        images = images_at(context, file, found.path)
        if images is not None:
            Motors(facts, scan, images.shape[0]).put()
        return facts.geometry()

    def finished(self, context: Context, file: str, found: Found) -> bool:
        """Tell whether a scan is over: bliss writes ``end_time`` last."""
        return "end_time" in group_names(context, file, "/" + found.path.split("/")[1])


def scan_of(context: Context, file: str, path: str) -> str | None:
    """The group of the scan that a path is in, such as ``/1.1``; None where that is no scan of bliss."""
    scan = path.split("/")[1]
    if not _SCAN.fullmatch(scan):
        return None
    members = group_names(context, file, f"/{scan}")
    return f"/{scan}" if "measurement" in members or "instrument" in members else None


def _number(name: str) -> tuple[str, int, int]:
    match = _SCAN.fullmatch(name)
    assert match is not None
    return name[: match.start(1)], int(match[1]), int(match[2])


def _detector_of(path: str) -> str:
    """The name of the detector, if a path is one of those where bliss has its images."""
    match path.split("/")[2:]:
        case ["measurement", name] | ["instrument", name, "data"]:
            return name
    return ""


def _candidates(context: Context, file: str, scan: str) -> Iterator[tuple[str, str, Images]]:
    """(path, name of the detector, images) of each series; some of them twice."""
    looked: Looked = {}
    # the instrument first: what is measured are links to it
    instrument = list(series_in(context, file, f"/{scan}/instrument", "data", looked))
    for name, images in series_in(context, file, f"/{scan}/measurement", looked=looked):
        yield f"/{scan}/measurement/{name}", name, images
    for name, images in instrument:
        yield f"/{scan}/instrument/{name}/data", name, images


def _found(path: str, scan: str, detector: str, images: Images) -> Iterator[Found]:
    for number, selection in channels(images.shape):
        name = detector if number is None else f"{detector}_threshold_{number + 1}"
        yield Found(path, "a scan of bliss", scan, name, selection=selection)


def _of_detector(facts: Facts, path: str, scan: str) -> None:
    """Exposure as bliss asked for it; the rest from the LImA file with the first frames that is there."""
    places = facts.places(path)
    names = _detector_names(path, [name for _, name in places])
    facts.first_number(
        "exposure_s",
        [
            f"{scan}/instrument/{name}/{where}"
            for name in names
            for where in ("acq_parameters/acq_expo_time", "acquisition/exposure_time")
        ],
        "s",
    )
    if len(places) > 1:
        file, data = places[-1]
        detector_facts(facts, file, data.rpartition("/")[0])
        facts.first_text("start_time", (f"/{data.split('/')[1]}/start_time",), file)
    if names:
        facts.put("detector", names[0], str(DataUrl(facts.file, f"{scan}/instrument/{names[0]}")))


def _detector_names(path: str, places: Sequence[str]) -> list[str]:
    """What the detector may be called in ``instrument``: as it is in the path of its data, or in ``measurement``."""
    names = [place.split("/")[-2] for place in (path, *places) if "/instrument/" in place and place.endswith("/data")]
    if "/measurement/" in path:
        names.append(path.rpartition("/")[2])
    return list(dict.fromkeys(names))


SOURCE = BlissSource()
