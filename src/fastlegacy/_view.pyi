# SPDX-License-Identifier: MIT
from collections.abc import Sequence
from typing import Any, Self, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

from fastlegacy._core import Cache, Stack

__test__: dict[str, str]

_Bytes: TypeAlias = Buffer | NDArray[Any]
_How: TypeAlias = tuple[object, ...]
_Piece: TypeAlias = tuple[object, ...]

@final
class View:
    def __new__(
        cls,
        stack: Stack,
        cache: Cache,
        dtype: str,
        swap: bool = False,
        *,
        mask: Buffer | NDArray[np.uint8] | None = None,
        binning: int = 1,
        transpose: bool = False,
        flip_ud: bool = False,
        flip_lr: bool = False,
        simd: str | None = None,
    ) -> Self: ...
    @property
    def stack(self) -> Stack: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def source_dtype(self) -> str: ...
    def develop(self, frame: int, how: _How, out: _Bytes) -> None: ...
    def encoded(self, frame: int, size: int, how: _How) -> bytearray: ...
    def measure(self, frame: int, how: _How) -> tuple[int, int, int]: ...

@final
class PieceFile:
    def __new__(cls, source: Stack | View, pieces: Sequence[_Piece]) -> Self: ...
    @property
    def source(self) -> Stack | View: ...
    @property
    def size(self) -> int: ...
    def read_into(self, buffer: _Bytes, offset: int = 0) -> int: ...
