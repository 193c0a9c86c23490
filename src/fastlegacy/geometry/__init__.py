# SPDX-License-Identifier: MIT
"""Geometry that stands in a file of its own beside the data. In: such a file. Out: a ``Geometry``.

A module defines one object ``READER`` (:class:`fastlegacy.geometry.reader.Reader`) and is found by
``fastlegacy.registry``. No reader opens an HDF5 file or knows a stack.
"""
