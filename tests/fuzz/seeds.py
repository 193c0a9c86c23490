# SPDX-License-Identifier: MIT
"""Makes seeds for the fuzz targets: whole chunks as HDF5's own filters write them, behind a target's numbers.

``python tests/fuzz/seeds.py FOLDER`` writes FOLDER/TARGET/NAME. `./run fuzz` starts from these and from the corpus.
"""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

LZ4, PLAIN, ZSTD = 0, 1, 2
ELEMENTS = {1: 0, 2: 1, 4: 2, 8: 3}
BSHUF, DEFLATE, SHUFFLE, FLETCHER32, LZ4_CHUNKS = 0, 1, 4, 5, 7


def counts(n: int, dtype: str) -> np.ndarray[Any, Any]:
    """Pixels as a detector counts: mostly small, a few large ones."""
    rng = np.random.default_rng(n)
    values = rng.poisson(1.5, n)
    values[:: max(1, n // 5)] = 200
    return values.astype(dtype)


def stored(data: np.ndarray[Any, Any], **filters: Any) -> bytes:
    """One chunk as HDF5 writes it."""
    with h5py.File("seed", "w", driver="core", backing_store=False) as h5:
        dset = h5.create_dataset("d", data=data, chunks=data.shape, **filters)
        return bytes(dset.id.read_direct_chunk((0,) * data.ndim)[1])


def bitshuffle_seeds() -> dict[str, bytes]:
    """Compression, element, block, level, elements (2 bytes), range (2 + 2), shift, and the chunk."""
    found = {}
    for name, index, cname in (("lz4", LZ4, "lz4"), ("plain", PLAIN, "none"), ("zstd", ZSTD, "zstd")):
        for n, dtype, block in ((64, "<u2", 0), (333, "<u4", 64), (1000, "<u2", 128), (600, "u1", 8), (77, "<u8", 16)):
            chunk = stored(counts(n, dtype), **hdf5plugin.Bitshuffle(nelems=block, cname=cname))
            for level in range(4):
                head = [index, ELEMENTS[np.dtype(dtype).itemsize], block // 8, level, *divmod(n, 256), 0, 9, 1, 50, 0]
                found[f"{name}-{n}-{level}"] = bytes(head) + chunk
    for name, index, cname in (("lz4", LZ4, "lz4"), ("zstd", ZSTD, "zstd")):  # blocks that the fastest kernels take
        for n, dtype, block in ((3000, "<u4", 512), (4000, "<u2", 1024), (2100, "<u4", 1024), (1500, "u1", 512)):
            for gap in (False, True):
                data = counts(n, dtype)
                if gap:
                    data[70:90] = np.iinfo(data.dtype).max
                chunk = stored(data, **hdf5plugin.Bitshuffle(nelems=block, cname=cname))
                blocks = 32 + block // 512
                head = [index, ELEMENTS[data.itemsize], blocks, 3, *divmod(n, 256), 0, 9, 1, 50, 0]
                found[f"{name}-{n}-{block}-{gap}"] = bytes(head) + chunk
    return found


def blosc_seeds() -> dict[str, bytes]:
    """Level, four ranges (4 bytes each), another size and whether it counts (3), and the chunk."""
    found = {}
    for cname in ("blosclz", "lz4", "snappy", "zlib", "zstd"):
        for n, dtype, shuffle in ((70, "<u2", 0), (1100, "<u2", 1), (900, "<u4", 2), (2000, "u1", 0), (333, "<u8", 1)):
            chunk = bytearray(stored(counts(n, dtype), **hdf5plugin.Blosc(cname=cname, clevel=5, shuffle=shuffle)))
            found[f"{cname}-{n}"] = bytes([3, 0, 9, 0, 50, 1, 7, 0, 99, 0, 0, 2, 0, 0, 70, 9, 9, 0, 9, 1]) + chunk
    return found


def small_blocks() -> dict[str, bytes]:
    """Chunks in several blocks, which c-blosc makes only of more bytes than a seed should have: streams as they are."""
    found = {}
    for itemsize, flags, block in ((1, 0, 100), (2, 1, 256), (2, 4, 320), (4, 17, 64), (3, 1, 384)):
        data = counts(block * 2 + 40, "u1").tobytes()
        blocks = [data[at : at + block] for at in range(0, len(data), block)]
        at, starts, body = 16 + 4 * len(blocks), b"", b""
        for part in blocks:
            starts += struct.pack("<I", at + len(body))
            split = not flags & 16 and block // itemsize >= 128 and len(part) == block
            each = len(part) // itemsize if split else len(part)
            for k in range(0, len(part), each):
                body += struct.pack("<i", each) + part[k : k + each]
        head = struct.pack("<4B3I", 2, 1, flags | 32, itemsize, len(data), block, at + len(body))
        numbers = [1, 0, 9, 0, 50, 1, 7, 0, 99, 0, 0, 2, 0, 0, 70, 9, 9, 0, 9, 1]
        found[f"blocks-{itemsize}-{flags}"] = bytes(numbers) + head + starts + body
    return found


def stage(kind: int, element: int = 2) -> bytes:
    """Kind, element, block, level, compression, plug-in, its number."""
    return bytes([kind, element, 0, 2, 1, 0, 0])


def pipeline_seeds() -> dict[str, bytes]:
    """Stages, what was skipped (2 bytes), size of the chunk (2), and the chunk."""
    data = counts(500, "<u2")
    chains: dict[str, tuple[list[int], dict[str, Any]]] = {
        "gzip": ([DEFLATE], {"compression": "gzip"}),
        "shuffle-gzip": ([SHUFFLE, DEFLATE], {"shuffle": True, "compression": "gzip"}),
        "gzip-fletcher32": ([DEFLATE, FLETCHER32], {"compression": "gzip", "fletcher32": True}),
        "all": ([SHUFFLE, DEFLATE, FLETCHER32], {"shuffle": True, "compression": "gzip", "fletcher32": True}),
        "fletcher32": ([FLETCHER32], {"fletcher32": True}),
        "lz4": ([LZ4_CHUNKS], dict(hdf5plugin.LZ4(nbytes=256))),
        "bslz4": ([BSHUF], dict(hdf5plugin.Bitshuffle())),
    }
    found = {}
    for name, (kinds, filters) in chains.items():
        head = bytes([len(kinds)]) + b"".join(stage(kind) for kind in kinds) + bytes([0, 0, *divmod(data.nbytes, 256)])
        found[name] = head + stored(data, **filters)
    found["twice"] = bytes([2]) + 2 * stage(DEFLATE) + bytes([0, 0, *divmod(1000, 256)])
    found["twice"] += zlib.compress(zlib.compress(data.tobytes()))
    return found


def bruker_seeds() -> dict[str, bytes]:
    """Pixels (2 bytes), another size (2), shift, whether there is a sign, and the pixels."""
    edges = np.array([0, 254, 255, 256, 65534, 65535, 65536, 2**31 - 1], "<u4")
    return {
        f"{n}-{shift}": bytes([*divmod(n - 1, 256), 3, 9, shift, 1]) + np.tile(edges, 40).tobytes()
        for n, shift in ((1, 0), (15, 0), (16, 1), (17, 0), (700, 8), (3000, 0))
    }


def sparse_seeds() -> dict[str, bytes]:
    """Element, size, frames, rows, columns (2 bytes each if large), cut and its two shifts, mask, shift, pixels."""
    found = {}
    for element, dtype in enumerate(("<u1", "<u2", "<u4")):
        for how, (ny, nx) in enumerate(((7, 15), (20, 16), (90, 257), (300, 300))):
            size = [15, 1, *divmod(ny - 1, 256), *divmod(nx - 1, 256)] if ny > 12 else [0, 1, ny - 1, nx - 1]
            head = [element, *size, 3, 0, 0, how, 0]
            found[f"{element}-{ny}"] = bytes(head) + counts(600, dtype).tobytes()
    return found


def main(folder: Path) -> None:
    """Write all of them."""
    for target, seeds in (
        ("bitshuffle", bitshuffle_seeds()),
        ("blosc", blosc_seeds() | small_blocks()),
        ("pipeline", pipeline_seeds()),
        ("bruker", bruker_seeds()),
        ("sparse", sparse_seeds()),
    ):
        (folder / target).mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (folder / target / name).write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
