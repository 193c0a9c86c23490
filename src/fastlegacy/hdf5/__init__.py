# SPDX-License-Identifier: MIT
"""HDF5 files: in, a file and a dataset's path; out, where each chunk lies and how to undo its filters.

Knows files, links, chunk maps, filter pipelines and virtual datasets, and how many files may be open.
Knows no detector and no legacy format.
"""
