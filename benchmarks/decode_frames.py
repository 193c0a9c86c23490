# SPDX-License-Identifier: MIT
"""One of several processes that decode frames with h5py: the yardstick for "all frames once, on all cores".

    python decode_frames.py FILE DATASET

Prints a line when it is ready; for each line "START STOP" that comes in it decodes these frames, and prints a line.
"""

from __future__ import annotations

import sys

import h5py
import hdf5plugin  # noqa: F401  (its import registers the filters)


def main() -> None:
    """Serve until the input ends."""
    path, name = sys.argv[1:]
    with h5py.File(path, "r", locking=False) as file:
        dataset = file[name]
        print("ready", flush=True)
        for line in sys.stdin:
            start, stop = map(int, line.split())
            for i in range(start, stop):
                dataset[i]
            print("done", flush=True)


if __name__ == "__main__":
    main()
