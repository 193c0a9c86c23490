# SPDX-License-Identifier: MIT
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

from fastlegacy._codec import Pipeline

__test__: dict[str, str]

_Bytes: TypeAlias = Buffer | NDArray[Any]
_ChunkMap: TypeAlias = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint32]]

@final
class Cache:
    def __new__(cls, max_bytes: int) -> Self: ...
    max_bytes: int
    patience_s: float
    @property
    def used_bytes(self) -> int: ...
    @property
    def hits(self) -> int: ...
    @property
    def misses(self) -> int: ...
    @property
    def ahead_bytes(self) -> int: ...
    @property
    def ahead_max_bytes(self) -> int: ...
    @property
    def ahead_loads(self) -> int: ...
    @property
    def ahead_hits(self) -> int: ...

@final
class Files:
    def __new__(cls, max_open: int) -> Self: ...
    patience_s: float
    def __len__(self) -> int: ...
    @property
    def open_files(self) -> int: ...
    @property
    def address(self) -> int: ...
    @property
    def waiting_s(self) -> float: ...
    def answers(self, path: bytes, *, deep: bool = False) -> bool: ...
    def add(self, path: bytes, size: int, inode: int, mtime_ns: int, *, growing: bool = False) -> File: ...

@final
class File:
    @property
    def growing(self) -> bool: ...
    def same(self, size: int, inode: int, mtime_ns: int) -> bool: ...
    def close_idle(self) -> None: ...
    def rename(self, path: bytes) -> None: ...

@final
class Dataset:
    def __new__(
        cls,
        name: str,
        shape: Sequence[int],
        chunk: Sequence[int],
        fill: bytes,
        files: Files,
        cache: Cache,
        kind: Literal["contiguous", "chunked", "memory", "python"],
        *,
        file: File | None = None,
        address: int | None = None,
        memory: bytes | None = None,
        pipeline: Pipeline | None = None,
        chunk_map: Callable[[], _ChunkMap] | None = None,
        loader: Callable[[int], NDArray[np.uint8]] | None = None,
    ) -> Self: ...
    @property
    def chunk(self) -> tuple[int, ...]: ...
    @property
    def grid(self) -> tuple[int, ...]: ...
    @property
    def allocated(self) -> bool: ...
    @property
    def address(self) -> int | None: ...
    def chunk_map(self) -> _ChunkMap | None: ...
    def prepare(self) -> None: ...
    def read(self, chunk: int, first_byte: int, out: _Bytes) -> None: ...

@final
class Stack:
    def __new__(
        cls,
        shape: Sequence[int],
        fill: bytes,
        parts: Sequence[tuple[Dataset | bytes, Sequence[tuple[int, int, int, int, int, int]], Sequence[int]]],
    ) -> Self: ...
    def prepare(self, first: int, last: int) -> None: ...
    def read(self, first_pixel: int, out: _Bytes) -> None: ...
    def sparse(
        self,
        frame: int,
        cut: int,
        mask: _Bytes | None,
        indices: _Bytes,
        values: _Bytes,
        simd: str | None = None,
    ) -> int: ...
