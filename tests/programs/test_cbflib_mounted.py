# SPDX-License-Identifier: MIT
"""CBFlib's programs on a mount: ``cif2cbf`` decodes each kind of virtual CBF, and checks its digest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest

from .conftest import Mount, Run, Scan

pytestmark = [pytest.mark.programs, pytest.mark.fuse]

KINDS = {
    "exact": (),
    "constant": ("-O", "size=constant"),
    "digest": ("-O", "md5=yes"),
    "constant digest": ("-O", "size=constant", "-O", "md5=yes"),
}
START = b"\x0c\x1a\x04\xd5"


def plain_pixels(path: Path, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return the pixels of a CBF file without encoding and compression."""
    data = path.read_bytes()
    return np.frombuffer(data, "<i4", int(np.prod(shape)), data.index(START) + len(START)).reshape(shape)


@pytest.mark.parametrize("kind", KINDS)
def test_cif2cbf_decodes_each_virtual_cbf(
    scan: Scan, mount: Mount, run: Run, program: Callable[[str], str], tmp_path: Path, kind: str
) -> None:
    cif2cbf = program("cif2cbf")
    with mount(scan.url, "--format", "cbf", *KINDS[kind]) as folder:
        for path, frame in zip(sorted(folder.glob("*.cbf")), scan.marked(-1, -2), strict=True):
            done = run(cif2cbf, "-d", "digest", "-e", "none", "-c", "none", path, "plain.cbf")
            assert "warning" not in done.stderr.lower()
            np.testing.assert_array_equal(plain_pixels(tmp_path / "plain.cbf", frame.shape), frame)


def test_cif2cbf_would_notice_a_wrong_digest(
    scan: Scan, mount: Mount, run: Run, program: Callable[[str], str], tmp_path: Path
) -> None:
    cif2cbf = program("cif2cbf")
    with mount(scan.url, "--format", "cbf", "-O", "md5=yes") as folder:
        data = bytearray((folder / "data0001.cbf").read_bytes())
    data[data.index(START) + 100_000] ^= 1
    (tmp_path / "changed.cbf").write_bytes(data)
    done = run(cif2cbf, "-d", "warndigest", "-e", "none", "-c", "none", "changed.cbf", "plain.cbf")
    assert "digest mismatch" in done.stderr


def test_cif2cbf_writes_beside_the_virtual_files(
    scan: Scan, mount: Mount, run: Run, program: Callable[[str], str], tmp_path: Path
) -> None:
    cif2cbf = program("cif2cbf")
    with mount(scan.url, "--format", "cbf") as folder:
        run(cif2cbf, "-e", "none", "-c", "none", "data0001.cbf", "plain.cbf", cwd=folder)
    assert [path.name for path in (tmp_path / "mount").iterdir()] == ["plain.cbf"]
    np.testing.assert_array_equal(plain_pixels(tmp_path / "mount" / "plain.cbf", (1062, 1028)), scan.marked(-1, -2)[0])


def test_img2cif_takes_a_virtual_smv_as_it_takes_one_by_fabio(
    scan: Scan, mount: Mount, run: Run, program: Callable[[str], str], tmp_path: Path
) -> None:
    """CBFlib 0.9.7 swaps the two sizes of SMV, whoever has written the file; the order of the pixels is right."""
    img2cif, cif2cbf = program("img2cif"), program("cif2cbf")
    pixels = scan.marked(0, 0)[0].clip(0, 65535)
    with mount(scan.url, "--format", "smv") as folder:
        header = fabio.open(folder / "data0001.img").header
        run(img2cif, "-c", "b", "-i", folder / "data0001.img", "-o", "virtual.cif")
    fabio.dtrekimage.DtrekImage(data=pixels.astype("<u2"), header=header).write(tmp_path / "real.img")
    run(img2cif, "-c", "b", "-i", "real.img", "-o", "real.cif")
    assert (tmp_path / "virtual.cif").read_bytes() == (tmp_path / "real.cif").read_bytes()
    run(cif2cbf, "-e", "none", "-c", "none", "virtual.cif", "plain.cbf")
    np.testing.assert_array_equal(plain_pixels(tmp_path / "plain.cbf", pixels.shape), pixels)
