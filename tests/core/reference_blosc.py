# SPDX-License-Identifier: MIT
"""Twin of blosc's chunks, and of the codecs that only it has: slow and obvious.

Written from README_CHUNK_FORMAT.rst of c-blosc and format_description.txt of Snappy.

A stream of the codecs BloscLZ and Snappy is made from a list of operations: bytes are literals, a pair ``(distance,
length)`` repeats what stands there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import TypeAlias

from .reference import bit_shuffle, bit_unshuffle, lz4_decode, lz4_literals, shuffle, unshuffle, zstd_raw

Operation: TypeAlias = bytes | tuple[int, int]

BLOSCLZ, LZ4, SNAPPY, ZLIB, ZSTD = range(5)
CODECS = (BLOSCLZ, LZ4, SNAPPY, ZLIB, ZSTD)
NONE, BYTES, BITS = 0, 1, 4
AS_IS, NOT_SPLIT = 2, 16


def expand(operations: Sequence[Operation]) -> bytes:
    """What a list of operations stands for."""
    out = bytearray()
    for operation in operations:
        if isinstance(operation, bytes):
            out += operation
            continue
        distance, length = operation
        for _ in range(length):
            out.append(out[-distance])
    return bytes(out)


def blosclz(operations: Sequence[Operation]) -> bytes:
    """BloscLZ; the first and the last operation are literals, and lengths are 3 at least."""
    out = bytearray()
    for operation in operations:
        if isinstance(operation, bytes):
            for at in range(0, len(operation), 32):
                part = operation[at : at + 32]
                out += bytes([len(part) - 1]) + part
            continue
        distance, length = operation
        length -= 2
        far = distance >= 8192
        high, low = (31, 255) if far else divmod(distance - 1, 256)
        out.append(min(length, 7) << 5 | high)
        if length >= 7:
            more, rest = divmod(length - 7, 255)
            out += bytes([255] * more + [rest])
        out.append(low)
        if far:
            out += struct.pack(">H", distance - 8192)
    out[0] |= 32  # c-blosc's mark; whoever reads takes no notice of it
    return bytes(out)


def snappy(operations: Sequence[Operation], *, wide: bool = False) -> bytes:
    """Snappy; ``wide``: with the longest form of each tag."""
    size = len(expand(operations))
    out = bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    out.append(size)
    for operation in operations:
        if isinstance(operation, bytes):
            n = len(operation) - 1
            many = 4 if wide else 0 if n < 60 else (n.bit_length() + 7) // 8
            out += bytes([(59 + many if many else n) << 2]) + n.to_bytes(4, "little")[:many] + operation
            continue
        distance, length = operation
        while length:
            part = min(length, 64)
            length -= part
            if wide or distance > 0xFFFF:
                out += bytes([(part - 1) << 2 | 3]) + struct.pack("<I", distance)
            elif distance < 2048 and 4 <= part < 12:
                out += bytes([distance >> 8 << 5 | (part - 4) << 2 | 1, distance & 255])
            else:
                out += bytes([(part - 1) << 2 | 2]) + struct.pack("<H", distance)
    return bytes(out)


def packed(data: bytes, codec: int) -> bytes:
    """One stream: as short as the codec makes it without a match, zlib apart."""
    if codec == ZLIB:
        return zlib.compress(data)
    if codec in (BLOSCLZ, SNAPPY):
        return {BLOSCLZ: blosclz, SNAPPY: snappy}[codec]([data])
    return {LZ4: lz4_literals, ZSTD: zstd_raw}[codec](data)


def streams_of(size: int, block: int, itemsize: int, flags: int) -> int:
    """Streams of a block of ``size`` bytes in a chunk with blocks of ``block``."""
    split = not flags & NOT_SPLIT and itemsize <= 16 and block // itemsize >= 128 and size == block
    return itemsize if split else 1


def head(codec: int, flags: int, itemsize: int, total: int, block: int, size: int) -> bytes:
    """The first 16 bytes."""
    return struct.pack("<4B3I", 2, 1, flags | codec << 5, itemsize, total, block, size)


def blosc(data: bytes, codec: int, flags: int, itemsize: int, block: int, order: Sequence[int] = ()) -> bytes:
    """A chunk as c-blosc stores it. ``order``: of the blocks in it; every third stream is stored as it is."""
    if flags & AS_IS:
        return head(codec, flags, itemsize, len(data), block, len(data) + 16) + data
    blocks = [data[at : at + block] for at in range(0, len(data), block)]
    at = 16 + 4 * len(blocks)
    starts, body, number = [0] * len(blocks), b"", 0
    for i in order or range(len(blocks)):
        part = blocks[i]
        if flags & BYTES and itemsize > 1:
            part = shuffle(part, itemsize)
        elif flags & BITS and len(part) // itemsize % 8 == 0:
            whole = len(part) - len(part) % itemsize
            part = bit_shuffle(part[:whole], itemsize) + part[whole:]
        starts[i] = at + len(body)
        each = len(part) // streams_of(len(part), block, itemsize, flags)
        for k in range(0, len(part), each):
            stream = part[k : k + each]
            coded = packed(stream, codec)
            if len(coded) >= each or number % 3 == 2:
                coded = stream
            number += 1
            body += struct.pack("<i", len(coded)) + coded
    lead = head(codec, flags, itemsize, len(data), block, at + len(body))
    return lead + struct.pack(f"<{len(starts)}I", *starts) + body


def blosc_decode(chunk: bytes) -> bytes:
    """A chunk backwards, if its streams are of LZ4 or zlib."""
    _, _, flags, itemsize, total, block, size = struct.unpack_from("<4B3I", chunk)
    assert size == len(chunk)
    if flags & AS_IS:
        return chunk[16:]
    out = b""
    for i in range(-(-total // block)):
        length = min(block, total - i * block)
        (at,) = struct.unpack_from("<I", chunk, 16 + 4 * i)
        part, streams = b"", streams_of(length, block, itemsize, flags)
        for _ in range(streams):
            (stored,) = struct.unpack_from("<i", chunk, at)
            stream = chunk[at + 4 : at + 4 + stored]
            if stored != length // streams:
                stream = zlib.decompress(stream) if flags >> 5 == ZLIB else lz4_decode(stream)
            part += stream
            at += 4 + stored
        if flags & BYTES and itemsize > 1:
            part = unshuffle(part, itemsize)
        elif flags & BITS and length // itemsize % 8 == 0:
            whole = length - length % itemsize
            part = bit_unshuffle(part[:whole], itemsize) + part[whole:]
        out += part
    return out
