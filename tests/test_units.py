# SPDX-License-Identifier: MIT
import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy import units
from fastlegacy.errors import UrlError


@pytest.mark.parametrize(
    ("text", "metres"),
    [
        ("140", 0.14),
        ("140mm", 0.14),
        (" 140 mm ", 0.14),
        ("0.14 m", 0.14),
        ("14cm", 0.14),
        ("75um", 75e-6),
        ("75\u00b5m", 75e-6),
        ("75\u03bcm", 75e-6),
        ("1.4e2", 0.14),
        ("+140.", 0.14),
        (".14m", 0.14),
        ("140MM", 0.14),
    ],
)
def test_lengths(text: str, metres: float) -> None:
    assert units.length_m(text, "--distance") == metres


def test_the_default_unit_is_the_callers() -> None:
    assert units.length_m("75", "--pixelsize", default="um") == 75e-6
    assert units.length_m("0.075mm", "--pixelsize", default="um") == 75e-6


@pytest.mark.parametrize(
    ("text", "angstrom"),
    [
        ("0.2854", 0.2854),
        ("0.2854A", 0.2854),
        ("0.2854 \u00c5", 0.2854),
        ("0.2854\u212b", 0.2854),
        ("0.02854nm", 0.2854),
        ("28.54pm", 0.2854),
        ("2.854e-11m", 0.2854),
        ("43.5keV", 12.398419843320026 / 43.5),
        ("43500 eV", 12.398419843320026 / 43.5),
    ],
)
def test_wavelength_from_lengths_and_energies(text: str, angstrom: float) -> None:
    assert units.wavelength_angstrom(text, "--wavelength") == pytest.approx(angstrom, rel=1e-14)


def test_hc_is_that_of_the_si() -> None:
    h_joule_s, c_m_per_s, e_coulomb = 6.62607015e-34, 299792458.0, 1.602176634e-19
    assert pytest.approx(h_joule_s * c_m_per_s / e_coulomb * 1e7, rel=1e-15) == units.HC_KEV_ANGSTROM


@pytest.mark.parametrize(
    ("text", "degrees"),
    [("-90", -90.0), ("0.1deg", 0.1), ("0.1\u00b0", 0.1), ("3.141592653589793rad", 180.0), ("0", 0.0)],
)
def test_angles(text: str, degrees: float) -> None:
    assert units.angle_deg(text, "--startangle") == pytest.approx(degrees, abs=1e-12)


def test_times_energies_pixels() -> None:
    assert units.time_s("100ms", "--expotime") == 0.1
    assert units.time_s("2min", "--expotime") == 120
    assert units.energy_kev("12658eV", "--energy") == 12.658
    assert units.pixels_px("-3.5", "--x0") == units.pixels_px("-3.5px", "--x0") == -3.5


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MB", 512_000_000), ("512", 512_000_000), ("2GiB", 2 << 30), ("1.5G", 1_500_000_000), ("300kb", 300_000)],
)
def test_memory(text: str, size: int) -> None:
    assert units.memory_bytes(text, "--memory") == size


@pytest.mark.parametrize(
    "text", ["", "mm", "12 parsec", "1,5mm", "nan", "inf", "1e999", "12 mm x", "0x10", "\u0661mm", "1_0", "--5", "5 5"]
)
def test_other_text_is_refused_with_what_is_understood(text: str) -> None:
    with pytest.raises(UrlError) as caught:
        units.length_m(text, "--distance")
    assert "--distance" in str(caught.value)
    assert "mm" in str(caught.value)


@pytest.mark.parametrize("text", ["0", "-1", "-0.0", "0mm"])
def test_lengths_are_greater_than_zero(text: str) -> None:
    with pytest.raises(UrlError, match="out of range"):
        units.length_m(text, "--distance")
    with pytest.raises(UrlError):
        units.wavelength_angstrom(text, "--wavelength")


def test_the_hint_for_a_wavelength_names_energies() -> None:
    with pytest.raises(UrlError, match="keV"):
        units.wavelength_angstrom("12 furlong", "--wavelength")


@given(st.floats(min_value=1e-6, max_value=1e6))
def test_what_repr_writes_is_read(value: float) -> None:
    assert math.isclose(units.length_m(f"{value!r}mm", "x"), value / 1000, rel_tol=1e-15)
    assert units.length_m(f"{value!r} m", "x") == value


@given(st.text(max_size=12))
def test_any_text_gives_a_finite_number_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(UrlError):
        assert math.isfinite(units.quantity(text, {"deg": 1.0}, "deg", "--angle"))
