# SPDX-License-Identifier: MIT
"""Builders of test data, shipped for tests, the demo, benchmarks and writers of plug-ins.

In: shapes, dtypes, names of filters. Out: arrays, and HDF5 files of every kind that detectors write. They are made
with h5py and NumPy alone, never with the rest of this package: what checks the package is not made by it.
"""
