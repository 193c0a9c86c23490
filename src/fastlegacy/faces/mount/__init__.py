# SPDX-License-Identifier: MIT
"""The mount: in, a tree of virtual files and a real folder; out, a folder that shows both to every program.

``real`` and ``virtual`` are the two layers, ``overlay`` is the rule that unites them, ``operations`` answers the
kernel, ``_refuse`` is all that knows the package refuse, ``covered`` and ``rename`` are the two ways to keep the real
folder at hand, ``session`` is the life of a mount, ``mountinfo`` looks at mounts and ``ending`` ends them.
"""
