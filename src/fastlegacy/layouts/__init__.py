# SPDX-License-Identifier: MIT
"""Legacy formats as byte layouts, one file each. In: the facts of a stack. Out: the pieces that a file is made of.

A module defines one object ``LAYOUT`` (:class:`fastlegacy.model.Layout`) and is found by ``fastlegacy.registry``.
No layout touches a pixel, and none knows where pixels come from.
"""
