# SPDX-License-Identifier: MIT
"""Builds the fuzz targets with clang's libFuzzer and sanitizers, and runs each for a while.

``./run fuzz [SECONDS] [TARGET...]``. Inputs that were found before are in ``corpus/TARGET.zip``; with ``--keep`` what
is found new is added to them: the fewest inputs that reach as much of the code. An input that ends in a fault is left
in the folder that the last line names.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
KERNELS = HERE.parent.parent / "src" / "fastlegacy" / "csrc"
CORPUS = HERE / "corpus"
TARGETS = tuple(sorted(path.stem for path in HERE.glob("*.c") if path.stem != "replay"))
WARNINGS = ("-Wall", "-Wextra", "-Wno-unused-function")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
LIBRARIES = ("-ldl", "-lpthread", "-lm")
_MOST_BYTES = 4096
_WHOLE_CORPUS = 100_000  # bytes of an archive's inputs at most
_MOST_INPUTS = 400


def unpack(target: str, folder: Path) -> list[Path]:
    """Put the inputs of a target's corpus into a folder."""
    archive = CORPUS / f"{target}.zip"
    folder.mkdir(parents=True, exist_ok=True)
    if archive.exists():
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
    return sorted(folder.iterdir())


def pack(target: str, folder: Path) -> None:
    """Make a folder of inputs a target's corpus: the same bytes for the same inputs."""
    CORPUS.mkdir(exist_ok=True)
    with zipfile.ZipFile(CORPUS / f"{target}.zip", "w", zipfile.ZIP_DEFLATED) as file:
        size = 0
        inputs = sorted(folder.iterdir(), key=lambda path: (path.stat().st_size, path.name))
        for path in inputs[:: len(inputs) // _MOST_INPUTS + 1]:
            size += path.stat().st_size
            if size < _WHOLE_CORPUS:
                file.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)


def build(target: str, program: Path, compiler: str, *more: str | Path) -> None:
    """Compile a target."""
    command = [compiler, "-std=gnu11", "-g", *SANITIZERS, *WARNINGS, f"-I{KERNELS}", f"-I{HERE}"]
    subprocess.run([*command, HERE / f"{target}.c", *more, "-o", program, *LIBRARIES], check=True)


def fuzz(target: str, seconds: int, work: Path, *, keep: bool) -> bool:
    """Run one target; tell whether nothing was found."""
    found, seeds, program = work / target / "found", work / target / "seeds", work / target / "program"
    unpack(target, found)
    seeds.mkdir(exist_ok=True)
    build(target, program, "clang", "-O1", "-fsanitize=fuzzer")
    print(f"{target}: {seconds} s", flush=True)
    options = [f"-max_total_time={seconds}", f"-max_len={_MOST_BYTES}", "-timeout=25", "-rss_limit_mb=2048"]
    options += ["-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={work / target}/"]
    done = subprocess.run([program, *options, found, seeds, work / "seeds" / target], check=False, cwd=work / target)
    if keep and done.returncode == 0:
        small = work / target / "small"
        small.mkdir()
        subprocess.run([program, "-merge=1", "-verbosity=0", small, found, work / "seeds" / target], check=True)
        pack(target, small)
    return done.returncode == 0


def main() -> None:
    """Run all targets, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("targets", nargs="*", default=TARGETS, help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--keep", action="store_true", help="add what is found new to the corpus")
    args = parser.parse_args()
    os.nice(10)
    work = Path(tempfile.mkdtemp(prefix="fastlegacy-fuzz-"))
    subprocess.run([sys.executable, HERE / "seeds.py", work / "seeds"], check=True)
    for target in args.targets:
        (work / "seeds" / target).mkdir(parents=True, exist_ok=True)
    bad = [target for target in args.targets if not fuzz(target, args.seconds, work, keep=args.keep)]
    if bad:
        sys.exit(f"found something: {', '.join(bad)}; the inputs are in {work}")
    print("nothing was found")


if __name__ == "__main__":
    main()
