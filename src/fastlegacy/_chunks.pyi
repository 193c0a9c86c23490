# SPDX-License-Identifier: MIT
from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

__test__: dict[str, str]

def chunks_in_order(addresses: NDArray[np.uint64], sizes: NDArray[np.uint64]) -> bool: ...

@final
class ChunkIndex:
    def __init__(
        self,
        chunk: Sequence[int],
        grid: Sequence[int],
        addresses: NDArray[np.uint64],
        sizes: NDArray[np.uint64],
        masks: NDArray[np.uint32],
    ) -> None: ...
    @property
    def function(self) -> int: ...
    @property
    def argument(self) -> int: ...
    @property
    def outside(self) -> int: ...
    @property
    def doubles(self) -> int: ...
    def put(self, offset: Sequence[int], mask: int, address: int, size: int) -> None: ...
