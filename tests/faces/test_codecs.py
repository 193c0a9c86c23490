# SPDX-License-Identifier: MIT
"""``fastlegacy.codecs``: what goes in comes out, and the bytes are those of other programs."""

import fabio.compression
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import fastlegacy
from fastlegacy import codecs
from fastlegacy.errors import DecodeError

SAFE = st.sampled_from(["i1", "u1", ">i2", "<u2", "<i4", ">i4", "<u4", ">u8", "i8"])


def images(dtype: str, ndim: int | None = 2) -> st.SearchStrategy[np.ndarray]:
    limits = np.iinfo(dtype)
    values = st.integers(max(limits.min, -(2**31)), min(limits.max, 2**31 - 1))
    shapes = arrays.array_shapes(min_dims=ndim or 1, max_dims=ndim or 3, max_side=40)
    return arrays.arrays(np.dtype(dtype), shapes, elements=values)


@given(SAFE.flatmap(lambda dtype: images(dtype, None)))
def test_byte_offset_there_and_back(pixels: np.ndarray) -> None:
    data = codecs.byte_offset_encode(pixels)
    back = codecs.byte_offset_decode(data + b"padding", pixels.shape)
    assert back.dtype == np.int32
    np.testing.assert_array_equal(back, pixels)


@given(SAFE.flatmap(images))
def test_agi_bitfield_there_and_back(image: np.ndarray) -> None:
    data = codecs.agi_bitfield_encode(image)
    back = codecs.agi_bitfield_decode(bytearray(data), image.shape)
    assert back.dtype == np.int32
    np.testing.assert_array_equal(back, image)


def test_fabio_reads_byte_offset_and_is_read() -> None:
    image = np.random.default_rng(2).poisson(3, (31, 17)).astype("u2")
    image[3, 4], image[9, 9] = 65535, 40_000
    data = codecs.byte_offset_encode(image)
    np.testing.assert_array_equal(np.reshape(fabio.compression.decByteOffset(data, image.size), image.shape), image)
    assert bytes(fabio.compression.compByteOffset(image.astype("i4"))) == data
    np.testing.assert_array_equal(codecs.byte_offset_decode(memoryview(data), image.shape), image)


def test_fabio_reads_agi_bitfield() -> None:
    from fabio.compression import agi_bitfield

    image = np.random.default_rng(2).poisson(30, (32, 32)).astype("i4")
    image[5, 7] = 100_000
    data = codecs.agi_bitfield_encode(image)
    np.testing.assert_array_equal(agi_bitfield.decompress(data, image.shape), image)
    np.testing.assert_array_equal(codecs.agi_bitfield_decode(agi_bitfield.compress(image), image.shape), image)


@pytest.mark.parametrize("encode", [codecs.byte_offset_encode, codecs.agi_bitfield_encode])
@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.array([[0, 2**31]], "u4"), "pixels from 0 to 2147483648 do not fit"),
        (np.array([[-(2**31) - 1, 0]], "i8"), "do not fit"),
        (np.zeros((2, 2), "f4"), "float32 are not integers"),
        (np.zeros((2, 2), bool), "bool are not integers"),
    ],
)
def test_pixels_that_would_be_others_are_refused(encode: object, image: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        encode(image)  # type: ignore[operator]


def test_an_image_has_two_axes() -> None:
    with pytest.raises(ValueError, match="two axes, not 3"):
        codecs.agi_bitfield_encode(np.zeros((1, 2, 3), "i4"))


def test_damaged_bytes_are_an_error() -> None:
    image = np.arange(300, dtype="i4").reshape(15, 20) ** 2
    for encode, decode in [
        (codecs.byte_offset_encode, codecs.byte_offset_decode),
        (codecs.agi_bitfield_encode, codecs.agi_bitfield_decode),
    ]:
        data = encode(image)
        for damaged in (data[:-1], b""):
            with pytest.raises(DecodeError):
                decode(damaged, image.shape)
        with pytest.raises(DecodeError):
            decode(data, (16, 20))


def test_they_are_names_of_the_package() -> None:
    assert fastlegacy.codecs is codecs
    assert all(callable(getattr(codecs, name)) for name in codecs.__all__)
