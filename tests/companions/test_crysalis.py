# SPDX-License-Identifier: MIT
"""Files for CrysAlisPro: .ccd and .run are read by fabio, .set and .par by the rules of their lines."""

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fabio.xcaliburimage import CcdCharacteristiscs, RunDescription

from fastlegacy.companions.crysalis import COMPANION

Make = Callable[..., Any]


@pytest.fixture
def frames(make_scene: Make) -> Make:
    """Return a maker of scenes with Esperanto frames, padded to a square."""

    def make(**said: Any) -> Any:
        square = {"layout": "esperanto", "suffix": ".esperanto", "digits": 1, "frame_shape": (304, 304)}
        return make_scene(**{**square, "image_at": (0, 24), **said})

    return make


def files(scene: Any) -> dict[str, bytes]:
    assert COMPANION.missing(scene) == ()
    return COMPANION.files(scene)


def expected_mask(eiger_mask: Any) -> Any:
    return np.pad(eiger_mask != 0, ((0, 4), (24, 24)), constant_values=True)


@pytest.mark.parametrize(
    ("stem", "run", "name", "index"),
    [
        ("lyso_1_", None, "lyso", 0),
        ("lyso_3_", None, "lyso", 2),
        ("scan_0007_2_", 5, "scan_0007", 1),
        ("data", None, "data", 0),
        ("data_", 4, "data", 3),
        ("lyso_1", None, "lyso_1", 0),
        ("lyso_0_", None, "lyso", 0),
    ],
)
def test_files_have_the_name_of_the_experiment(frames: Make, stem: str, run: int | None, name: str, index: int) -> None:
    made = files(frames(stem=stem, run=run))
    assert list(made) == [f"{name}.par", f"{name}.run", f"{name}.ccd", f"{name}.set"]
    description = RunDescription.loads(made[f"{name}.run"])
    assert description.cprefix == name
    assert [sweep.iscanindex for sweep in description.pssweep] == [index]


def test_fabio_reads_the_mask_of_the_padded_frame_from_ccd(frames: Make, eiger_mask: Any) -> None:
    ccd = CcdCharacteristiscs.loads(files(frames(mask=eiger_mask))["lyso.ccd"])
    assert ccd.cccdproducer == ccd.cccdchiptype == ccd.cccdchipserial == "n/a"
    assert ccd.dwversion == 0x0001000C
    np.testing.assert_array_equal(ccd.build_mask((304, 304)) != 0, expected_mask(eiger_mask))


def test_ccd_has_the_size_of_those_that_crysalis_writes(frames: Make, eiger_mask: Any) -> None:
    # 1894 bytes without a bad pixel, and 28 for each rectangle
    empty = files(frames(frame_shape=(300, 256), image_at=(0, 0)))["lyso.ccd"]
    assert len(empty) == 1894
    made = files(frames(mask=eiger_mask))
    lines = made["lyso.set"].count(b"\r\nCHIP BADRECTANGLE ")
    assert len(made["lyso.ccd"]) == 1894 + 28 * lines


def test_the_lines_of_set_are_the_same_mask(frames: Make, eiger_mask: Any) -> None:
    text = files(frames(mask=eiger_mask))["lyso.set"].decode("ascii")
    assert text.startswith("#XCALIBUR SYSTEM\r\n#XCALIBUR SETUP FILE\r\n")
    assert text.endswith("\r\n#END OF XCALIBUR CHIP CHARACTERISTICS FILE\r\n")
    masked = np.zeros((304, 304), bool)
    for line in text.split("\r\n"):
        if line.startswith("CHIP BADRECTANGLE"):
            left, right, bottom, top = map(int, line.split()[2:])
            masked[bottom : top + 1, left : right + 1] = True
    np.testing.assert_array_equal(masked, expected_mask(eiger_mask))


def test_a_mask_in_pieces_gives_a_bounded_number_of_rectangles(frames: Make) -> None:
    mask = np.zeros((300, 256), np.uint8)
    mask[1::3, 1::3] = 2
    made = files(frames(mask=mask))
    bands, points = 3, int((mask != 0).sum())
    assert made["lyso.set"].count(b"\r\nCHIP BADRECTANGLE ") == 1000
    assert f"#{points + bands - 1000} MORE MASKED PIXELS".encode() in made["lyso.set"]
    assert CcdCharacteristiscs.loads(made["lyso.ccd"]).ibadpolygons == 1000


@pytest.mark.parametrize(
    ("start_deg", "step_deg", "ends_deg"),
    [(10.0, 0.25, (-11.25, -10.0)), (-90.0, -0.5, (90.0, 92.5)), (0.0, 72.0, (-360.0, 0.0))],
)
def test_fabio_reads_the_scan_with_increasing_omega_from_run(
    frames: Make, start_deg: float, step_deg: float, ends_deg: tuple[float, float]
) -> None:
    data = files(frames(start_deg=start_deg, step_deg=step_deg))["lyso.run"]
    assert len(data) == 528 + 88
    description = RunDescription.loads(data)
    assert (description.cprefix, description.cfolder, description.inumofsweeps) == ("lyso", "", 1)
    (sweep,) = description.pssweep
    assert sweep.iscantype == 0
    assert (sweep.domega, sweep.dtheta, sweep.dkappa, sweep.dphi) == (0, 0, 0, 0)
    assert (sweep.dstart, sweep.dend) == ends_deg
    assert (sweep.dwidth, sweep.dexposure) == (abs(step_deg), 0.1)
    assert (sweep.iunknown3, sweep.iunknown5) == (5, 5)


def test_a_scan_may_have_more_frames_than_16_bits_can_count(frames: Make) -> None:
    data = files(frames(count=100_000))["lyso.run"]
    assert struct.unpack_from("<II", data, 528 + 72) == (100_000, 100_000)


def test_an_exposure_time_that_nobody_said_is_one_second(frames: Make) -> None:
    (sweep,) = RunDescription.loads(files(frames(exposure_s=None))["lyso.run"]).pssweep
    assert sweep.dexposure == 1.0


def par(scene: Any) -> dict[str, list[str]]:
    data = files(scene)["lyso.par"]
    assert data.endswith(b"\r\n")
    lines = data.decode("latin-1").split("\r\n")[:-1]
    assert lines[0] == "\xa7XCALIBUR SYSTEM"
    return {" ".join(words[:2]): words[2:] for line in lines if line[0] != "\xa7" and (words := line.split())}


def test_par_says_the_geometry_of_the_padded_frame(frames: Make) -> None:
    lines = par(frames())
    assert [float(word) for word in lines["CRYSTALLOGRAPHY WAVELENGTH"]] == [0.7] * 3
    assert [float(word) for word in lines["ROTATION DETECTORORIENTATION"]] == [0, 0, 0, 140, 124.25, 150.75] * 2
    assert lines["CCD PARAMETERS"][:6] == ["1", "1", "0", "0", "304", "304"]
    assert float(lines["ROTATION SCANWIDTH"][0]) == 0.25
    assert lines["FILE CHIP"] == ['"lyso.ccd"']
    pixel = next(line for line in files(frames())["lyso.par"].split(b"\r\n") if b"PIXELSIZE" in line)
    assert float(pixel.split()[-1]) == 0.075


def test_a_name_in_any_script_is_written(frames: Make) -> None:
    made = files(frames(stem="\u03b2-\u6e2c\u5b9a_1_"))
    assert b'FILE CHIP "?-??.ccd"' in made["\u03b2-\u6e2c\u5b9a.par"]
    assert RunDescription.loads(made["\u03b2-\u6e2c\u5b9a.run"]).cprefix == "\u03b2-\u6e2c\u5b9a"


def test_a_name_cannot_break_a_line_of_par(frames: Make) -> None:
    made = files(frames(stem='a"\r\nb_1_'))
    assert b'\r\nFILE CHIP "a???b.ccd"\r\n' in made['a"\r\nb.par']


def test_a_name_that_is_no_text_is_written(frames: Make) -> None:
    made = files(frames(stem="caf\udce9_1_"))
    assert b'FILE CHIP "caf?.ccd"' in made["caf\udce9.par"]
    assert made["caf\udce9.run"].startswith(b"caf\xe9\0")


def test_the_geometry_and_esperanto_frames_are_needed(frames: Make) -> None:
    words = ("distance", "wavelength", "direct beam", "pixel size", "start angle", "step angle")
    scene = frames()
    bare = replace(scene, facts=replace(scene.facts, geometry=type(scene.facts.geometry)()))
    assert COMPANION.missing(bare) == words
    assert COMPANION.missing(frames(layout="cbf")) == ("frames as esperanto",)
    assert COMPANION.missing(frames(step_deg=0.0)) == ("step angle other than 0",)
