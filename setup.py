# SPDX-License-Identifier: MIT
"""Only the extension modules: everything else is in pyproject.toml."""

import os
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup


def extension(name: str) -> Extension:
    """Make one module of Cython over the same C headers."""
    return Extension(
        f"fastlegacy.{name}",
        sources=[f"src/fastlegacy/{name}.pyx"],
        depends=glob("src/fastlegacy/csrc/*.h"),
        include_dirs=["src/fastlegacy/csrc"],
        extra_compile_args=["-O3", "-std=gnu11", "-fvisibility=hidden", "-Wall", "-Wno-unused-function"],
        libraries=["dl", "m", "pthread"] if os.name == "posix" else [],
    )


names = ["_codec", "_core", "_chunks", "_view", "_encode"]
if os.name == "posix":  # the C of a mount: docs/windows.md says what is there instead
    names += ["_names", "_serve"]
modules = [extension(name) for name in names]
setup(
    ext_modules=cythonize(modules, include_path=["src"], compiler_directives={"language_level": 3}),
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
)
