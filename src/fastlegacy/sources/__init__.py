# SPDX-License-Identifier: MIT
"""Conventions: in, a file or a folder; out, the stacks in it, by name. One convention is one file here."""
