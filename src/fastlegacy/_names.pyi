# SPDX-License-Identifier: MIT
from collections.abc import Iterable, Sequence
from typing import Self, final

import numpy as np
from numpy.typing import NDArray

__test__: dict[str, str]

@final
class Names:
    def __new__(
        cls,
        dirfd: int,
        epoch: int,
        *,
        uid: int,
        gid: int,
        mode: int,
        block_bytes: int,
        gives_away: bool = False,
        keep: object = None,
    ) -> Self: ...
    @property
    def epoch(self) -> int: ...
    def knows(self, path: str) -> bool: ...
    def tell(
        self,
        path: str,
        epoch: int,
        version: int,
        seed: int,
        series: Sequence[tuple[str, str, bool, int, int, int, bool, int, int]],
        *,
        folders: int = 0,
        inode: int = 0,
    ) -> None: ...
    def learn_folder(self, path: str, mtime_ns: int, epoch: int) -> None: ...
    def learn(self, path: str, sizes: NDArray[np.int64], epoch: int) -> None: ...
    def listing(self, path: str, entries: Iterable[tuple[str, int, int]], taken: Iterable[str]) -> Listing | None: ...

@final
class Listing:
    def fill(self, filler: int, buffer: int, place: int) -> None: ...
