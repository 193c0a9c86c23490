# SPDX-License-Identifier: MIT
"""The command line. In: words. Out: text and an exit code (0 done, 1 failed, 2 bad arguments).

One module for each command, which defines ``COMMAND``; the registry finds it. ``main`` has the entry point.
"""
