# SPDX-License-Identifier: MIT
"""What people touch: mount, export, command line, library. In: a request. Out: an answer. All faces are thin."""
