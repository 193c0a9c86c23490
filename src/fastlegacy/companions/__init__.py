# SPDX-License-Identifier: MIT
"""Small files that programs want beside the frames, one kind each. In: a scene. Out: names and contents of files.

A module defines one object ``COMPANION`` (:class:`fastlegacy.companions.scene.Companion`) and is found by
``fastlegacy.registry``. No companion reads a pixel, and none knows where frames come from.
"""
