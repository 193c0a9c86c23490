# SPDX-License-Identifier: MIT
"""Rules of the house that no other tool checks."""

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "fastlegacy"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [*MODULES, *sorted(PACKAGE.rglob("*.pyx")), *sorted(PACKAGE.rglob("*.h")), *sorted(PACKAGE.rglob("*.pyi"))]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TESTS_OF_OTHERS = {"test_syscalls"}  # libfuse's
TESTS = sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])


def lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def test_modules_are_small():
    sizes = {path: lines(path) for path in [*SOURCES, *TESTS]}
    assert {path.name: size for path, size in sizes.items() if size > 600} == {}
    assert statistics.median(sizes[path] for path in MODULES if path.name != "__init__.py") <= 200


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_licence_line(path):
    head = path.read_text(encoding="utf-8").splitlines()[:2]
    assert any("SPDX-License-Identifier: MIT" in line for line in head)


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/**/__init__.py")), ids=lambda path: path.parent.name)
def test_packages_hold_a_docstring_only(path):
    module = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(module)
    assert len(module.body) == 1


@pytest.mark.parametrize("room", ["companions", "layouts", "testing"])
def test_rooms_that_touch_no_pixel_do_not_import_the_kernels(room):
    # import-linter reads Python only, and does not see a compiled module
    kernels = re.compile(r"\b_(core|codec|serve|encode)\b")
    users = [p.name for p in (PACKAGE / room).rglob("*.py") if kernels.search(p.read_text(encoding="utf-8"))]
    assert users == []


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.pyx")), ids=lambda path: path.name)
def test_what_frees_something_keeps_its_references_until_then(path):
    # in a ring the garbage collector would take them away before; ASan sees that now and then only
    text = path.read_text(encoding="utf-8")
    types = re.findall(r"^(@.*\n)?cdef class (\w+).*((?:\n.*)*?)(?=\n\S|\Z)", text, re.MULTILINE)
    wrong = [name for above, name, body in types if "__dealloc__" in body and above != "@cython.no_gc_clear\n"]
    assert wrong == []
    assert len(types) == text.count("\ncdef class ")


def test_nothing_happens_on_import():
    program = """
import os, sys, threading, resource
before = dict(os.environ), resource.getrlimit(resource.RLIMIT_NOFILE), threading.active_count()
import fastlegacy
assert before == (dict(os.environ), resource.getrlimit(resource.RLIMIT_NOFILE), threading.active_count())
assert not {"refuse", "refuse.high", "fabio"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.programs
def test_what_mounts_runs_one_after_the_other(request):
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("pytest-xdist is not asked for groups")
    # of versions that do not understand each other nothing else would tell
    assert request.node.nodeid.endswith("@mounts")


def test_every_error_is_in_the_documentation():
    from fastlegacy import errors

    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert [name for name in errors.__all__ if f"`{name}`" not in text and f".{name}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_the_documentation_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_tests_named_in_the_documentation_exist():
    known = {match for path in TESTS for match in re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8"))}
    known |= TESTS_OF_OTHERS
    named = {page.name: set(re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))) for page in PAGES}
    assert {page: names - known for page, names in named.items() if names - known} == {}
    assert {"semantics.md", "life.md", "set.md", "sharing.md"} <= {page for page in named if len(named[page]) > 10}
    assert set().union(*named.values()) >= TESTS_OF_OTHERS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_of_tests_named_in_the_documentation_exist(page):
    named = re.findall(r"`((?:tests|benchmarks)/[\w/]+\.py)`", page.read_text(encoding="utf-8"))
    to_be_written = {"tests/layouts/test_pgm.py", "tests/companions/test_yours.py"}  # by who adds a layout
    assert [name for name in named if name not in to_be_written and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("word", ["demo", "test", "bench", "lint", "asan", "shell", "clean"])
def test_run_knows_its_words(word):
    done = subprocess.run([ROOT / "run", "help"], capture_output=True, text=True, check=True)
    assert re.search(rf"^  {word} ", done.stdout, re.MULTILINE)


def test_run_refuses_an_unknown_word():
    done = subprocess.run([ROOT / "run", "fly"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage: ./run WORD" in done.stderr
