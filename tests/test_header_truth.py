# SPDX-License-Identifier: MIT
"""Every number in every header is the one that the facility's file was given, whatever the convention and the format.

On one side are the builders of ``fastlegacy.testing``, which know no reader of fastlegacy, on the other independent
readers of the legacy files (``header_readers.py``). Values that nobody said are neutral, or not there at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import fastlegacy
from fastlegacy.faces.cli.main import main
from fastlegacy.testing.bliss import bliss_dataset
from fastlegacy.testing.dectris import dectris_series
from fastlegacy.testing.experiment import Experiment
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.lambda_ import lambda_scan
from fastlegacy.testing.lima import lima2_file, lima_file
from fastlegacy.testing.nxmx import filewriter2_series, nxmx_scan

from .header_readers import READERS

N, NY, NX = 5, 20, 32
FRAMES = counting_frames(N, (NY, NX), "u2")
# no number is the default of anything, and none is that of the other axis; square pixels, which every format can hold
TRUTH = Experiment(exposure_s=0.042, sensor_thickness_m=0.00075)
KEV_ANGSTROM = 12.39841984332
NOTHING = Experiment(**dict.fromkeys(Experiment.__slots__))

# formats that cannot leave a value out have these
NEUTRAL = {
    "wavelength_angstrom": 1.0,
    "distance_m": 0.1,
    "beam_x_px": NX / 2 - 0.5,
    "beam_y_px": NY / 2 - 0.5,
    "pixel_x_m": 1e-4,
    "pixel_y_m": 1e-4,
    "exposure_s": 0.0,
    "angle_deg": 0.0,
    "step_deg": 0.0,
}
NEUTRAL_SATURATION = {"cbf": 65534, "smv": 65535, "mccd": 65535, "sfrm": 2**31 - 1, "esperanto": 1_000_000}
LEAVES_OUT = {"edf", "edf-stack", "tiff"}
WHOLE_SECONDS = {"smv", "mccd", "sfrm", "ge"}


@dataclass(frozen=True)
class Said:
    """A stack, and what was said of it.

    `make` writes the file and returns the url to open, and the words for the command line.
    """

    make: Callable[[Path], tuple[str, list[str]]]
    truth: Experiment
    angles_deg: tuple[float, ...] | None = None
    motors: dict[str, Any] = field(default_factory=dict)
    counters: dict[str, Any] = field(default_factory=dict)
    run: int | None = None


def angles(truth: Experiment) -> tuple[float, ...] | None:
    found = truth.angles_deg(N)
    return None if found is None else tuple(found)


def said(make: Callable[[Path], str], truth: Experiment, **more: Any) -> Said:
    return Said(lambda folder: (make(folder), []), truth, **{"angles_deg": angles(truth), **more})


def only(truth: Experiment, *names: str) -> Experiment:
    """The experiment without the values that a convention has no place for."""
    return replace(NOTHING, **{name: getattr(truth, name) for name in names})


# ---------------------------------------------------------------------------------------------------- conventions

PIXELS = ("pixel_x_m", "pixel_y_m")
BEAM = ("wavelength_angstrom", "distance_m", "corner_x_px", "corner_y_px")
LIMA = only(TRUTH, *PIXELS, "exposure_s", "detector", "start_time")
LIMA2 = only(TRUTH, *PIXELS, *BEAM, "exposure_s", "detector", "start_time", "saturation_counts")
DECTRIS = replace(TRUTH, title=None)
LAMBDA = only(TRUTH, *PIXELS, "distance_m", "sensor_material", "sensor_thickness_m", "saturation_counts", "start_time")
LAMBDA = replace(LAMBDA, pixel_x_m=5.5e-05, pixel_y_m=5.5e-05, detector="Lambda 750K", serial_number="L-17")
ROT = [3.0, 3.5, 4.0, 4.5, 5.0]
WEDGES = [3.0, 3.5, 4.0, 90.0, 90.5]
UNEVEN = [3.0, 3.7, 4.0, 90.0, 91.5]
# what bliss.py writes of every scan
BLISS = only(TRUTH, *PIXELS, "detector")
BLISS = replace(BLISS, exposure_s=0.01, title="fscan", start_time="2026-03-01T11:00:00", start_deg=3.0, step_deg=0.5)


def bliss(folder: Path, rot: list[float]) -> str:
    moved = {"rot": rot, "dty": [1.0, 1.25, 1.5, 1.75, 2.0]}
    mon = {"mon": [100.0, 101.0, 99.0, 98.0, 97.5]}
    file = bliss_dataset(folder, {"1.1": FRAMES}, moved=moved, positions={"phi": -7.25}, counters=mon)
    return f"{file}::/1.1/measurement/eiger"


BLISS_SERIES = {
    "motors": {"dty": [1.0, 1.25, 1.5, 1.75, 2.0], "phi": -7.25},
    "counters": {"mon": [100.0, 101.0, 99.0, 98.0, 97.5]},
}
CHANNELS = np.stack([FRAMES, FRAMES + 7, FRAMES + 9], axis=1)
GONIOMETER = {"chi": 0.0, "kappa": 0.0, "phi": 0.0}


def channel(number: int) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        url = filewriter2_series(folder, CHANNELS, experiment=replace(TRUTH, serial_number="E-2"))
        return f"{url.replace('::', '?path=')}&slice=:,{number}"

    return make


def lima2(folder: Path) -> str:
    url = lima2_file(folder / "lima2.h5", CHANNELS[:, :2], TRUTH)
    return f"{url.replace('::', '?path=')}&slice=:,1"


def inverse(truth: Experiment) -> Experiment:
    return replace(truth, start_deg=40.0, step_deg=-0.5)


FOUND: dict[str, Said] = {
    "bliss": said(lambda folder: bliss(folder, ROT), BLISS, **BLISS_SERIES),
    "bliss wedges": said(
        lambda folder: bliss(folder, WEDGES),
        replace(BLISS, start_deg=None),
        angles_deg=tuple(WEDGES),
        **BLISS_SERIES,
    ),
    "bliss uneven": said(
        lambda folder: bliss(folder, UNEVEN),
        replace(BLISS, start_deg=None, step_deg=None),
        angles_deg=tuple(UNEVEN),
        **BLISS_SERIES,
    ),
    "lima": said(lambda folder: lima_file(folder / "lima.h5", FRAMES, TRUTH), LIMA),
    "lima2": said(lima2, LIMA2),
    "dectris": said(
        lambda folder: dectris_series(folder, FRAMES, blocks=(2, 1, 2), experiment=TRUTH), DECTRIS, motors=GONIOMETER
    ),
    "dectris backwards": said(
        lambda folder: dectris_series(folder, FRAMES, blocks=(4, 1), experiment=inverse(TRUTH)),
        inverse(DECTRIS),
        motors=GONIOMETER,
    ),
    "filewriter 2": said(channel(0), replace(TRUTH, serial_number="E-2"), motors={"phi": np.degrees(0.5)}),
    "second threshold": said(
        channel(1), replace(TRUTH, serial_number="E-2", threshold_ev=43400.0), motors={"phi": np.degrees(0.5)}
    ),
    "difference": said(
        channel(2), replace(TRUTH, serial_number="E-2", threshold_ev=None), motors={"phi": np.degrees(0.5)}
    ),
    "nxmx": said(lambda folder: nxmx_scan(folder, FRAMES, experiment=TRUTH), TRUTH, motors={"phi": np.degrees(0.5)}),
    "lambda": said(lambda folder: lambda_scan(folder, FRAMES, modules=2, experiment=LAMBDA), LAMBDA),
    "plain": said(lambda folder: write_stack(folder / "plain.h5", FRAMES), NOTHING),
}
"""Stacks whose own files say what is known of them."""

# ---------------------------------------------------------------------------------------------------- beside the data

PONI = """poni_version: 2
Detector: Detector
Detector_config: {"pixel1": 7.5e-05, "pixel2": 7.5e-05}
Distance: 0.1535
Poni1: 0.00065625
Poni2: 0.00121875
Rot1: 0.0
Rot2: 0.0
Rot3: 0.0
Wavelength: 2.854e-11
"""
IMAGED11 = """distance 153500.0
wavelength 0.2854
y_center 15.75
z_center 8.25
y_size 75.0
z_size 75.0
tilt_x 0.0
tilt_y 0.0
tilt_z 0.0
o11 1
o12 0
o21 0
o22 -1
"""
CRYSALIS = """\xa7XCALIBUR SYSTEM
CCD PARAMETERS 1 1 0 0 32 20 DARKOFF
CRYSTALLOGRAPHY WAVELENGTH 0.285400 0.285400 0.285400
ROTATION DETECTORORIENTATION 0.0 0.0 0.0 153.500000 15.750000 8.250000 0.0 0.0 0.0 153.500000 15.750000 8.250000
"""
TOML = """[geometry]
distance = "153.5 mm"
wavelength = "0.2854 A"
beam_x_px = 15.75
beam_y_px = 8.25
pixel_x = "75 um"
pixel_y = "75 um"
start = "-12.5 deg"
step = "0.25 deg"
exposure = "42 ms"
period = "50 ms"
threshold = "21.7 keV"
saturation_counts = 54321
detector = "Dectris EIGER2 CdTe 4M, S/N E-08-0117"
sensor_material = "CdTe"
sensor_thickness = "750 um"
title = "lysozyme 3"
start_time = "2026-03-01T12:00:00.250"
run = 4

[motors]
phi = -7.25
dty = [1.0, 1.25, 1.5, 1.75, 2.0]

[counters]
mon = [100, 101, 99, 98, 97.5]
"""
WORDS = (
    *(
        "--distance",
        "15.35cm",
        "--wavelength",
        f"{KEV_ANGSTROM / 0.2854:.12g}keV",
        "--x0",
        "15.75",
        "--y0",
        "8.25px",
        "--pixelsize",
        "75",
    ),
    *("--startangle", "-12.5", "--stepangle", "0.25deg", "--expotime", "42ms", "--period", "0.05s"),
    *("--threshold", "21.7keV", "--saturation", "54321", "--detector", "Dectris EIGER2 CdTe 4M, S/N E-08-0117"),
    *("--sensor", "CdTe", "--thickness", "0.75mm", "--title", "lysozyme 3"),
    *("--start-time", "2026-03-01T12:00:00.250", "--run", "4", "--motor", "phi=-7.25", "--counter", "mon=/mon"),
    *("--motor", "dty=/dty"),
)
SERIES = {"motors": {"phi": -7.25, "dty": BLISS_SERIES["motors"]["dty"]}, "counters": BLISS_SERIES["counters"]}
WITH_ALL = {"angles_deg": angles(TRUTH), "run": 4, **SERIES}


def beside(name: str, text: str, truth: Experiment, **more: Any) -> Said:
    def make(folder: Path) -> tuple[str, list[str]]:
        (folder / name).write_text(text, encoding="latin-1")
        return write_stack(folder / "plain.h5", FRAMES), ["--geometry", str(folder / name)]

    return Said(make, truth, **more)


def typed(folder: Path) -> tuple[str, list[str]]:
    url = write_stack(folder / "plain.h5", FRAMES)
    with h5py.File(folder / "plain.h5", "r+") as file:
        file["mon"] = SERIES["counters"]["mon"]
        file["dty"] = SERIES["motors"]["dty"]
    return url, list(WORDS)


def layered(folder: Path) -> tuple[str, list[str]]:
    """The command line says the distance, a side file that and the wavelength, HDF5 all of it, each another one."""
    wrong = replace(TRUTH, distance_m=0.2, wavelength_angstrom=0.7, title=None)
    url = dectris_series(folder, FRAMES, experiment=wrong)
    side = folder / "fastlegacy.toml"
    side.write_text('[geometry]\ndistance = "0.3 m"\nwavelength = "0.2854 A"\n')
    return url, ["--geometry", str(side), "--distance", "153.5mm"]


BESIDE: dict[str, Said] = {
    "poni": beside("beam.poni", PONI, only(TRUTH, *BEAM, *PIXELS)),
    "ImageD11 par": beside("beam.par", IMAGED11, only(TRUTH, *BEAM, *PIXELS)),
    "CrysAlis par": beside("beam.par", CRYSALIS, only(TRUTH, *BEAM)),
    "fastlegacy.toml": beside("fastlegacy.toml", TOML, TRUTH, **WITH_ALL),
    "command line": Said(typed, TRUTH, **WITH_ALL),
    "one over the other": Said(layered, DECTRIS, angles_deg=angles(DECTRIS), motors=GONIOMETER),
}
"""Stacks of which a side file or the user says what is known."""

# ---------------------------------------------------------------------------------------------------- the comparison


def expected(case: Said, name: str, frame: int) -> dict[str, Any]:
    """What a reader of the format has to find: nothing for a value means that it is not there."""
    truth = case.truth
    values: dict[str, Any] = {
        "wavelength_angstrom": truth.wavelength_angstrom,
        "distance_m": truth.distance_m,
        "beam_x_px": None if truth.corner_x_px is None else truth.corner_x_px - 0.5,
        "beam_y_px": None if truth.corner_y_px is None else truth.corner_y_px - 0.5,
        "pixel_x_m": truth.pixel_x_m,
        "pixel_y_m": truth.pixel_y_m,
        "exposure_s": truth.exposure_s,
        "angle_deg": None if case.angles_deg is None else case.angles_deg[frame],
        "step_deg": truth.step_deg,
    }
    if name not in LEAVES_OUT:
        values = {key: NEUTRAL[key] if value is None else value for key, value in values.items()}
    values |= {"motors": at(case.motors, frame), "counters": at(case.counters, frame)}
    serial = f", S/N {truth.serial_number}" if truth.serial_number else ""
    values |= {
        "period_s": values["exposure_s"] if truth.period_s is None else truth.period_s,
        "saturation_counts": truth.saturation_counts or NEUTRAL_SATURATION.get(name),
        "threshold_ev": truth.threshold_ev,
        "sensor_material": truth.sensor_material,
        "sensor_thickness_m": truth.sensor_thickness_m,
        "title": truth.title,
        "detector": None if truth.detector is None else truth.detector.replace(serial, "") + serial,
        "run": case.run,
        "seconds": seconds(truth, frame, name),
    }
    if name == "esperanto":
        ends = values["angle_deg"], values["angle_deg"] + values["step_deg"]
        values["ends_deg"] = (max(ends), min(ends))
        values["beam_x_px"] += (256 - NX) // 2
        values["sensor_thickness_m"] = truth.sensor_thickness_m or 0.0
    if name in ("mccd", "sfrm"):
        values["end_deg"] = values["angle_deg"] + values["step_deg"]
    if name in ("mccd", "sfrm", "ge"):
        values["title"] = truth.title or ""
    if name == "sfrm":
        values["run"] = case.run or 0
    return values


def at(series: dict[str, Any], frame: int) -> dict[str, float] | None:
    return {key: value[frame] if isinstance(value, list) else value for key, value in series.items()} or None


def seconds(truth: Experiment, frame: int, name: str) -> float | None:
    if truth.start_time is None:
        return None
    start = datetime.fromisoformat(truth.start_time).replace(tzinfo=UTC).timestamp()
    begun = start + frame * (truth.period_s or 0.0)
    return float(int(begun)) if name in WHOLE_SECONDS else begun


# words that a reader gives and that are not numbers of the experiment
OF_THEIR_OWN = {"not_given", "start_time"}
# how fine the numbers of a format are
FINENESS = {"beam_x_px": 2e-4, "beam_y_px": 2e-4, "seconds": 1.1e-3, "angle_deg": 1e-6, "pixel_x_m": 1e-12}


def assert_true(found: dict[str, Any], wanted: dict[str, Any], without_time: bool) -> None:
    for key, value in found.items():
        if key in OF_THEIR_OWN or (key == "seconds" and without_time):
            continue
        truth = wanted[key]
        if key == "motors" and "rot" in value:
            truth = truth | {"rot": wanted["angle_deg"]}
        if key == "motors" and "omega" in value:
            truth = truth | {"omega": wanted["angle_deg"]}
        if isinstance(value, str):
            assert value == ("unknown" if truth is None else truth), key
        else:
            assert truth is not None, (key, value)
            assert value == pytest.approx(truth, rel=2e-6, abs=FINENESS.get(key, 1e-9)), key


def files_of(name: str, case: Said, folder: Path) -> list[tuple[Path, int]]:
    """The files of the first, a middle and the last frame, with the number of the frame, as a user gets them."""
    url, words = case.make(folder)
    out = folder / "out"
    if words:
        file, _, dataset = url.partition("::")
        assert main(["export", "-q", file, dataset, str(out), "--format", name, "--companions", "none", *words]) == 0
        paths = sorted(path for path in out.rglob("*") if path.suffix == fastlegacy.formats()[name].suffix)
    else:
        out.mkdir()
        with fastlegacy.open(url) as stack:
            for file_name, file in fastlegacy.tree(stack, name, companions=()).items():
                (out / file_name).write_bytes(file.read())
        paths = sorted(out.iterdir())
    if not fastlegacy.formats()[name].per_frame:
        (path,) = paths
        return [(path, frame) for frame in (0, N // 2, N - 1)]
    assert len(paths) == N
    turned = name == "esperanto" and case.angles_deg is not None and case.angles_deg[-1] > case.angles_deg[0]
    return [(paths[N - 1 - frame] if turned else paths[frame], frame) for frame in (0, N // 2, N - 1)]


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("convention", [*FOUND, *BESIDE])
def test_every_number_of_a_header_is_that_of_its_source(tmp_path: Path, convention: str, name: str) -> None:
    case = {**FOUND, **BESIDE}[convention]
    for path, frame in files_of(name, case, tmp_path):
        found = READERS[name](path, frame)
        wanted = expected(case, name, frame)
        assert_true(found, wanted, without_time=case.truth.start_time is None)
        # and what the format has a place for is there
        missing = {key for key, value in wanted.items() if value is not None} - found.keys()
        assert missing == NOT_HELD[name] & {key for key, value in wanted.items() if value is not None}


_NOT_IN_CBF = {"motors", "counters", "run"}
_PLAIN = {"period_s", "saturation_counts", "threshold_ev", "sensor_material", "sensor_thickness_m", "detector"}
NOT_HELD: dict[str, set[str]] = {
    "cbf": _NOT_IN_CBF,
    "edf": _PLAIN,
    "edf-stack": _PLAIN,
    "tiff": _PLAIN | _NOT_IN_CBF | {"title", "seconds"},
    "smv": (_PLAIN - {"saturation_counts"}) | _NOT_IN_CBF | {"title"},
    "mccd": (_PLAIN - {"saturation_counts"}) | _NOT_IN_CBF,
    "sfrm": (_PLAIN - {"saturation_counts"}) | {"motors", "counters"},
    "esperanto": (_PLAIN - {"saturation_counts", "sensor_thickness_m"})
    | _NOT_IN_CBF
    | {"title", "angle_deg", "step_deg"},
    "ge": _PLAIN | _NOT_IN_CBF | {*NEUTRAL} - {"exposure_s"},
}
"""What a format has no place for."""


def test_a_format_without_a_reader_here_has_nothing_to_tell() -> None:
    silent = {name for name, layout in fastlegacy.formats().items() if not layout.wants and not layout.uses}
    assert silent == fastlegacy.formats().keys() - READERS.keys() == {"flat", "npy", "npy-stack", "raw"}


# in the words of the line Not_given of a CBF file
NOT_GIVEN = {
    "pixel size": "pixel_x_m",
    "exposure": "exposure_s",
    "cutoff": "saturation_counts",
    "energy": "wavelength_angstrom",
    "distance": "distance_m",
    "beam": "corner_x_px",
    "step": "step_deg",
}


@pytest.mark.parametrize("convention", [*FOUND, *BESIDE])
def test_a_cbf_file_says_which_of_its_values_nobody_gave(tmp_path: Path, convention: str) -> None:
    case = {**FOUND, **BESIDE}[convention]
    wanted = {word for word, name in NOT_GIVEN.items() if getattr(case.truth, name) is None}
    wanted |= {"start"} if case.angles_deg is None else set()
    for path, frame in files_of("cbf", case, tmp_path):
        text = READERS["cbf"](path, frame).get("not_given", "")
        assert set(text.split(", ")) - {""} == wanted


RECTANGULAR = replace(only(TRUTH, *BEAM, *PIXELS), pixel_x_m=5e-05, pixel_y_m=1.72e-04)
WITH_RECTANGLES = beside(
    "fastlegacy.toml",
    """[geometry]
distance_m = 0.1535
wavelength_angstrom = 0.2854
beam_x_px = 15.75
beam_y_px = 8.25
pixel_x = "50 um"
pixel_y = "172 um"
""",
    RECTANGULAR,
)


@pytest.mark.parametrize("name", ["cbf", "edf", "edf-stack", "mccd", "tiff"])
def test_pixels_that_are_not_square_have_both_sizes(tmp_path: Path, name: str) -> None:
    for path, frame in files_of(name, WITH_RECTANGLES, tmp_path):
        found = READERS[name](path, frame)
        assert [found[key] for key in PIXELS] == pytest.approx([5e-05, 1.72e-04], rel=1e-9)
        assert [found[key] for key in ("beam_x_px", "beam_y_px")] == pytest.approx([15.75, 8.25], abs=1e-9)


@pytest.mark.parametrize("name", ["esperanto", "sfrm", "smv"])
def test_a_format_with_one_size_of_pixels_refuses_others(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url, words = WITH_RECTANGLES.make(tmp_path)
    file, _, dataset = url.partition("::")
    assert main(["export", "-q", file, dataset, str(tmp_path / "out"), "--format", name, *words]) == 1
    assert "not square" in capsys.readouterr().err
