# SPDX-License-Identifier: MIT
"""``python -m fastlegacy`` is the same as ``fastlegacy``."""

import sys

from fastlegacy.faces.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
