# SPDX-License-Identifier: MIT
"""Files of X-Spectrum's Lambda: ``/entry/instrument/detector`` with its images, perhaps joined from modules' files.

Source: what fabio (``lambdaimage``) and dxtbx (``FormatHDF5Lambda``) read; there is no documentation. Pixel size and
thickness of the sensor are in micrometres where no units are written, values are lists of one.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastlegacy.hdf5.files import Context
from fastlegacy.model import Geometry
from fastlegacy.sources._facts import Facts
from fastlegacy.sources._images import images_at
from fastlegacy.sources.find import Found

__all__ = ["SOURCE", "LambdaSource"]

_DETECTOR = "/entry/instrument/detector"


class LambdaSource:
    """Finds ``data`` of the detector whose ``description`` says Lambda."""

    name = "lambda"
    rank = 40

    def find(self, context: Context, file: str, path: str = "") -> Iterator[Found]:
        """Yield the one stack of the file."""
        del path
        if images_at(context, file, f"{_DETECTOR}/data") is None:
            return
        description = Facts(context, file).read(f"{_DETECTOR}/description")
        if description is not None and "Lambda" in description.text():
            yield Found(f"{_DETECTOR}/data", "written by a Lambda", detector="lambda")

    def geometry(self, context: Context, file: str, found: Found) -> Geometry:
        """Read pixels, sensor and saturation; wavelength and beam are not in these files."""
        del found
        facts = Facts(context, file)
        facts.first_number("pixel_x_m", (f"{_DETECTOR}/x_pixel_size",), "m", "um")
        facts.first_number("pixel_y_m", (f"{_DETECTOR}/y_pixel_size",), "m", "um")
        facts.first_number("sensor_thickness_m", (f"{_DETECTOR}/sensor_thickness",), "m", "um")
        facts.first_number("distance_m", (f"{_DETECTOR}/distance",), "m")
        facts.first_text("sensor_material", (f"{_DETECTOR}/sensor_material",))
        facts.saturation((f"{_DETECTOR}/saturation_value",))
        facts.detector((f"{_DETECTOR}/description",), (f"{_DETECTOR}/serial_number",))
        facts.first_text("start_time", ("/entry/start_time",))
        return facts.geometry()


SOURCE = LambdaSource()
