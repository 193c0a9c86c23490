# SPDX-License-Identifier: MIT
"""Only the extension module: everything else is in pyproject.toml."""

import os
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup

core = Extension(
    "fastlegacy._core",
    sources=["src/fastlegacy/_core.pyx"],
    depends=glob("src/fastlegacy/csrc/*.h"),
    include_dirs=["src/fastlegacy/csrc"],
    extra_compile_args=["-O3", "-std=gnu11", "-fvisibility=hidden", "-Wall", "-Wno-unused-function"],
    libraries=["dl", "pthread"] if os.name == "posix" else [],
)
setup(ext_modules=cythonize([core], compiler_directives={"language_level": 3}))
