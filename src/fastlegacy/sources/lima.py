# SPDX-License-Identifier: MIT
"""Files of LImA and LImA2 alone, ``/entry_0000/ESRF-ID11/eiger/data``, without the master that bliss writes.

Source: LImA's ``CtSaving_Hdf5.cpp``. LImA2 has an axis for the thresholds of a detector after that of the frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.objects import is_written, open_object
from fastlegacy.model import Geometry
from fastlegacy.sources._facts import Facts
from fastlegacy.sources._images import channels, group_names, images_at
from fastlegacy.sources._lima import detector_facts
from fastlegacy.sources.find import Found

__all__ = ["SOURCE", "LimaSource"]

_ENTRY = re.compile(r"entry_[0-9]+")


class LimaSource:
    """Finds ``data`` beside ``detector_information`` in the instruments of ``entry_0000``, ``entry_0001``, ..."""

    name = "lima"
    rank = 20

    def find(self, context: Context, file: str, path: str = "") -> Iterator[Found]:
        """Yield the stack of each detector and threshold."""
        del path
        entries = [name for name in group_names(context, file, "/") if _ENTRY.fullmatch(name)]
        for entry in entries:
            for instrument in group_names(context, file, f"/{entry}"):
                for detector in group_names(context, file, f"/{entry}/{instrument}"):
                    home = f"/{entry}/{instrument}/{detector}"
                    if "detector_information" in group_names(context, file, home):
                        yield from self._of_detector(context, file, home, entry if len(entries) > 1 else "")

    def _of_detector(self, context: Context, file: str, home: str, scan: str) -> Iterator[Found]:
        images = images_at(context, file, f"{home}/data")
        if images is None:
            return
        detector = home.rpartition("/")[2]
        for number, selection in channels(images.shape):
            name = detector if number is None else f"{detector}_threshold_{number + 1}"
            yield Found(f"{home}/data", "written by LImA", scan, name, selection=selection)

    def geometry(self, context: Context, file: str, found: Found) -> Geometry:
        """Pixel size, exposure, name of the detector; LImA2 may know the beam too."""
        facts = Facts(context, file)
        entry = "/" + found.path.split("/")[1]
        facts.first_text("start_time", (f"{entry}/start_time",))
        detector_facts(facts, file, found.path.rpartition("/")[0])
        return facts.geometry()

    def finished(self, context: Context, file: str, found: Found) -> bool:
        """Tell whether nothing more will come: LImA said when it ended, or wrote all frames that it was asked for."""
        if "end_time" in group_names(context, file, "/" + found.path.split("/")[1]):
            return True
        home = found.path.rpartition("/")[0]
        asked_for = Facts(context, file).number(f"{home}/acquisition/nb_frames", "counts")
        images = images_at(context, file, found.path)
        if images is None or asked_for is None or images.shape[0] < asked_for:
            return False
        with context.open_h5(images.file) as h5:
            return is_written(open_object(h5.id, images.path))


SOURCE = LimaSource()
