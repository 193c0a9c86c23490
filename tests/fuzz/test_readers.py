# SPDX-License-Identifier: MIT
"""Side files, urls and selections of any kind: what comes out is a value, or an error of ours that names the file.

``FASTLEGACY_FUZZ_SECONDS=600 pytest tests/fuzz/test_readers.py`` goes on for that long with each of them.
"""

from __future__ import annotations

import math
import os
import random
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from fastlegacy.errors import FastlegacyError, UrlError
from fastlegacy.geometry.read import read_geometry
from fastlegacy.hdf5.url import parse_url
from fastlegacy.index.crawl import Record
from fastlegacy.index.template import Template

ROUNDS = 400
SECONDS = float(os.environ.get("FASTLEGACY_FUZZ_SECONDS", "0"))

PONI = b"""# Nota
poni_version: 2.1
Detector: Eiger2_4M
Detector_config: {"orientation": 3, "pixel1": 7.5e-05, "pixel2": 7.5e-05, "max_shape": [2162, 2068]}
PixelSize1: 0.0001
PixelSize2: 0.0002
Distance: 0.25
Poni1: 0.01
Poni2: 0.02
Rot1: 0.01
Rot2: 0.0
Rot3: 1e-9
Wavelength: 1.5e-11
"""
IMAGED11 = b"""cell__a 4.04
distance 152736.55
o11 -1
tilt_x 0.0
wavelength 0.2846
y_center 1024.5
y_size 47.0
z_center 1001.25
z_size 47.0
"""
CRYSALIS = b"""XCALIBUR SYSTEM
CRYSTALLOGRAPHY WAVELENGTH 0.70930 0.71359 0.71073
\xa7ROTATION DETECTORORIENTATION (DEG) 0.10 -0.2 60.0 1024.5 1001.25
ROTATION DETECTORORIENTATION 0.1 0.2 60.0 1024.5 1001.25 0 0
HARDWARE FRAME 0 0 1024
"""
TOML = b"""[detector]
distance = "0.25 m"
beam = [1024.5, 1001.25]
pixel = "75 um"
threshold = "8 keV"
[beam]
wavelength_angstrom = 0.71
[scan]
start_deg = 0.0
step_deg = 0.1
angles_deg = [1, 2.5, 3e0]
[motors]
rot = [1, 2]
"""
SIDE_FILES = {"a.poni": PONI, "a.par": IMAGED11, "b.par": CRYSALIS, "fastlegacy.toml": TOML}
URLS = (
    b"scan.h5::/1.1/measurement/eiger",
    b"a.h5?path=/d&slice=0:10,...,2",
    b"silx:/x/a%20b.h5?/d&slice=::2,1:-1",
    b"C:\\x\\a.h5::d",
)
TEMPLATES = (b"{file}/{scan}/{detector}_{number:04d}{suffix}", b"{stem}-{image:>5}.{format}", b"{{x}}{n}")
RECORDS = (b'{"file": "/a.h5", "sources": [["/a.h5", 1, 2, 3]], "stacks": [], "error": ""}',)
WORDS = (
    b"nan",
    b"inf",
    b"-1",
    b"1e999",
    b"0",
    b"\x00",
    b"\xff\xfe",
    b"\xe2\x88\x9e",
    b"[[",
    b"{",
    b'"',
    b"\n",
    b"9" * 400,
    b"1_0",
)


def changed(chance: random.Random, text: bytes) -> bytes:
    """A text with a few parts of it taken out, doubled, exchanged or put in."""
    data = bytearray(text)
    for _ in range(chance.randint(1, 4)):
        a, b = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        b = min(b, a + 40)
        match chance.randrange(5):
            case 0:
                del data[a:b]
            case 1:
                data[a:a] = data[a:b]
            case 2:
                data[a:b] = chance.choice(WORDS)
            case 3:
                data[a:a] = chance.randbytes(chance.randint(1, 4))
            case _:
                if data:
                    data[a % len(data)] ^= 1 << chance.randrange(8)
    return bytes(data)


def rounds(seed: int, texts: tuple[bytes, ...], work: Callable[[bytes], None]) -> None:
    """Try changed texts, so many of them or for so long."""
    chance = random.Random(seed if not SECONDS else None)
    end = time.monotonic() + SECONDS
    number = 0
    while number < ROUNDS or time.monotonic() < end:
        number += 1
        text = changed(chance, chance.choice(texts))
        try:
            with suppress(FastlegacyError):
                work(text)
        except Exception as exc:
            raise AssertionError(f"{text!r}: {exc!r}") from exc


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", SIDE_FILES)
def test_a_side_file_is_read_or_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    def read(text: bytes) -> None:
        path.write_bytes(text)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = read_geometry(path, (2162, 2068), 3)
        for value in (found.distance_m, found.wavelength_angstrom, found.beam_x_px, found.beam_y_px, found.pixel_x_m):
            assert value is None or math.isfinite(value)

    with suppress(UrlError):  # the texts need not be whole to begin with
        read(SIDE_FILES[name])
    rounds(1, (SIDE_FILES[name],), read)


@pytest.mark.timeout(0)
def test_a_url_is_understood_or_refused() -> None:
    def read(text: bytes) -> None:
        url = parse_url(text.decode("utf-8", "surrogateescape"))
        if url.dataset is not None and url.selection is not None and "::" not in url.file and "?" not in url.file:
            assert parse_url(str(url)) == url

    rounds(2, URLS, read)


@pytest.mark.timeout(0)
def test_a_template_is_understood_or_refused() -> None:
    rounds(3, TEMPLATES, lambda text: void(Template(text.decode("utf-8", "surrogateescape"))))


@pytest.mark.timeout(0)
def test_a_record_is_read_or_refused() -> None:
    import json

    def read(text: bytes) -> None:
        with suppress(KeyError, TypeError, ValueError):  # what the catalogue expects of a damaged record
            Record.from_json(json.loads(text))

    rounds(4, RECORDS, read)


def void(value: object) -> None:
    """Only to be made."""
    assert value is not None
