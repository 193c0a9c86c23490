# SPDX-License-Identifier: MIT
"""NumPy twins of the kernels: slow and obvious, written from the formats and not from the C code.

Formats
-------
bit shuffle
    A block of n elements (n a multiple of 8) of E bytes is 8*E rows of n/8 bytes. Row 8*b+i holds bit i of byte b of
    all elements, the element k in bit k%8 (the lowest is 0) of byte k//8. See bitshuffle's ``doc/h5plugin`` and paper
    (Masui et al., Astronomy and Computing 12 (2015) 181, doi 10.1016/j.ascom.2015.07.002).
block stream
    u64 big endian: size of the chunk; u32 big endian: size of a block, both in bytes; then for each block u32 big
    endian its compressed size, and the block. The last block has what is left, rounded down to 8 elements; up to 7
    elements follow as they are.
byte shuffle
    HDF5 filter 2: byte 0 of all elements, then byte 1 of all, and so on; a rest that is no whole element follows.
fletcher32
    HDF5 filter 3: sums of 16-bit big-endian words, reduced to 16 bits by adding the upper to the lower half;
    an odd byte at the end counts as the upper half of a word. Stored behind the data, little endian.
LZ4 block
    https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
zstd frame
    RFC 8878; only its raw blocks are written here.
"""

from __future__ import annotations

import struct

import numpy as np

PLAIN, LZ4, ZSTD = 0, 2, 3


def bit_shuffle(data: bytes, itemsize: int) -> bytes:
    """The bit transposition of one block, forwards."""
    elements = np.frombuffer(data, np.uint8).reshape(-1, itemsize)
    bits = np.unpackbits(elements, axis=1, bitorder="little")  # row k: the bits of element k
    return np.packbits(bits.T, axis=1, bitorder="little").tobytes()


def bit_unshuffle(data: bytes, itemsize: int) -> bytes:
    """One block backwards, row by row."""
    n = len(data) // itemsize
    out = np.zeros((n, itemsize), np.uint8)
    for row, line in enumerate(np.frombuffer(data, np.uint8).reshape(8 * itemsize, n // 8) if n else ()):
        byte, bit = divmod(row, 8)
        out[:, byte] |= np.unpackbits(line, bitorder="little") << bit
    return out.tobytes()


def shuffle(data: bytes, itemsize: int) -> bytes:
    """HDF5's byte shuffle, forwards."""
    whole = len(data) - len(data) % itemsize
    return np.frombuffer(data[:whole], np.uint8).reshape(-1, itemsize).T.tobytes() + data[whole:]


def unshuffle(data: bytes, itemsize: int) -> bytes:
    """HDF5's byte shuffle, backwards."""
    n = len(data) // itemsize
    planes = [data[b * n : (b + 1) * n] for b in range(itemsize)]
    return bytes(planes[b][i] for i in range(n) for b in range(itemsize)) + data[n * itemsize :]


def fletcher32(data: bytes) -> int:
    """HDF5's checksum, in numbers without limit."""
    a = b = 0
    padded = data + b"\0" * (len(data) % 2)
    for (word,) in struct.iter_unpack(">H", padded):
        a += word
        b += a
    return _fold(b) << 16 | _fold(a)


def _fold(number: int) -> int:
    while number >> 16:
        number = (number & 0xFFFF) + (number >> 16)
    return number


def with_fletcher32(data: bytes) -> bytes:
    """What HDF5 stores: the data and their checksum."""
    return data + struct.pack("<I", fletcher32(data))


def default_block(itemsize: int) -> int:
    """Elements of a block where nobody says how many: about 8 KiB, a multiple of 8, 128 at least."""
    return max(128, 8192 // itemsize // 8 * 8)


def block_sizes(n: int, block: int) -> list[int]:
    """Elements of each block of a chunk of n elements."""
    sizes = [block] * (n // block)
    rest = n % block // 8 * 8
    return sizes + ([rest] if rest else [])


def bitshuffle_stream(data: bytes, itemsize: int, block: int, compression: int = LZ4) -> bytes:
    """A chunk as the filter bitshuffle stores it; ``block`` counts elements."""
    out = struct.pack(">QI", len(data), block * itemsize) if compression else b""
    at = 0
    for n in block_sizes(len(data) // itemsize, block):
        bits = bit_shuffle(data[at : at + n * itemsize], itemsize)
        coded = {PLAIN: bytes, LZ4: lz4_literals, ZSTD: zstd_raw}[compression](bits)
        out += (struct.pack(">I", len(coded)) if compression else b"") + coded
        at += n * itemsize
    return out + data[at:]


def bitshuffle_decode(stream: bytes, itemsize: int, total: int, block: int = 0, compression: int = LZ4) -> bytes:
    """A stored chunk of ``total`` bytes, backwards. Only LZ4 and uncompressed streams."""
    at = 0
    if compression:
        stated, block_bytes = struct.unpack_from(">QI", stream)
        assert stated == total
        block, at = block_bytes // itemsize, 12
    out = b""
    for n in block_sizes(total // itemsize, block or default_block(itemsize)):
        size = n * itemsize
        if compression:
            (size,) = struct.unpack_from(">I", stream, at)
            at += 4
        coded = stream[at : at + size]
        out += bit_unshuffle(lz4_decode(coded) if compression else coded, itemsize)
        at += size
    return out + stream[at : at + total - len(out)]


def lz4_literals(data: bytes) -> bytes:
    """An LZ4 block of one sequence that is all literals."""
    if len(data) < 15:
        return bytes([len(data) << 4]) + data
    n, rest = divmod(len(data) - 15, 255)
    return bytes([0xF0, *[255] * n, rest]) + data


def lz4_filter(data: bytes, block: int = 1 << 30) -> bytes:
    """A chunk as HDF5's filter LZ4 stores it; every second block is not compressed."""
    out = struct.pack(">QI", len(data), block)
    for number, at in enumerate(range(0, len(data), block)):
        part = data[at : at + block]
        packed = part if number % 2 else lz4_literals(part)
        out += struct.pack(">I", len(packed)) + packed
    return out


def lz4_decode(data: bytes) -> bytes:
    """An LZ4 block, backwards; IndexError if it is damaged."""
    out = bytearray()
    at = 0
    while at < len(data):
        token = data[at]
        literals, at = _length(data, at + 1, token >> 4)
        out += data[at : at + literals]
        at += literals
        if at == len(data):
            return bytes(out)
        if at > len(data) or data[at : at + 2] == b"\0\0":
            raise IndexError(at)
        offset = data[at] | data[at + 1] << 8
        match, at = _length(data, at + 2, token & 15)
        for _ in range(match + 4):
            out.append(out[-offset])
    raise IndexError(at)


def _length(data: bytes, at: int, nibble: int) -> tuple[int, int]:
    if nibble < 15:
        return nibble, at
    while data[at] == 255:
        nibble += 255
        at += 1
    return nibble + data[at], at + 1


def zstd_raw(data: bytes) -> bytes:
    """A zstd frame of raw blocks: magic, single segment with a content size of four bytes, blocks."""
    out = struct.pack("<IBI", 0xFD2FB528, 0xA0, len(data))
    cuts = list(range(0, len(data), 1 << 17)) or [0]
    for at in cuts:
        part = data[at : at + (1 << 17)]
        out += struct.pack("<I", len(part) << 3 | (at == cuts[-1]))[:3] + part
    return out
