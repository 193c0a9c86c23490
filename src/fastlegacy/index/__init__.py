# SPDX-License-Identifier: MIT
"""The tree of virtual files. In: a stack and a layout. Out: name -> virtual file, by arithmetic, without tables."""
