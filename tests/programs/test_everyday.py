# SPDX-License-Identifier: MIT
"""Programs that people use in a folder where they process data, in a mount: version control, databases, archives."""

from __future__ import annotations

import filecmp
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import detector_frames

from .conftest import Mount, Program, Run

pytestmark = [pytest.mark.programs, pytest.mark.fuse]

WRITERS, ROWS = 4, 60
ADD_ROWS = f"""
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=200) as base:
    for number in range({ROWS}):
        base.execute("insert into peaks(writer, number) values (?, ?)", (sys.argv[2], number))
        base.commit()
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return write_stack(tmp_path / "scan.h5", detector_frames(4, (64, 72), "u2"), filters="bslz4")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with what archives may get wrong: links of both kinds, times, permissions, holes, odd names."""
    made = tmp_path / "tree"
    (made / "sub" / "deeper").mkdir(parents=True)
    for number in range(40):
        file = made / "sub" / f"file {number}"
        file.write_bytes(bytes([number]) * (number * 997))
        file.chmod(0o400 + number)
        os.utime(file, ns=(10**18 + number, 10**18 + number * 1001))
    (made / "again").hardlink_to(made / "sub" / "file 7")
    (made / "leads").symlink_to("sub/file 8")
    Path(os.fsdecode(os.fsencode(made) + b"/odd \xff name")).write_bytes(b"odd")
    with open(made / "sub" / "deeper" / "holes", "wb") as file:
        file.seek(3_000_000)
        file.write(b"end")
    os.mkfifo(made / "pipe")
    for path in made.rglob("*"):
        if not path.stem.startswith("file"):
            # of another second than now: rsync sees no difference within one
            os.utime(path, ns=(10**18 + 1, 10**18 + 5001), follow_symlinks=False)
    return made


def assert_same(one: Path, other: Path) -> None:
    """Two trees are the same, times and links too."""
    compared = filecmp.dircmp(one, other, ignore=[])
    assert (compared.left_only, compared.right_only) == ([], [])
    _, different, failed = filecmp.cmpfiles(
        one, other, [n for n in compared.common_files if n != "pipe"], shallow=False
    )
    assert (different, failed) == ([], [])
    for name in compared.common:
        was, now = (one / name).lstat(), (other / name).lstat()
        assert (was.st_mode, was.st_uid, was.st_gid) == (now.st_mode, now.st_uid, now.st_gid)
        if (one / name).is_dir() and not (one / name).is_symlink():
            assert_same(one / name, other / name)
        else:
            assert (was.st_nlink, was.st_size, was.st_mtime_ns) == (now.st_nlink, now.st_size, now.st_mtime_ns)


def test_git(mount: Mount, url: str, program: Program, run: Run) -> None:
    words = [program("git"), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "gc.auto=0"]
    with mount(url) as folder:
        run(*words, "init", "-q", "-b", "main", cwd=folder)
        for number in range(5):
            (folder / "notes.txt").write_text(f"version {number}\n" * 100)
            run(*words, "add", "-A", cwd=folder)
            run(*words, "commit", "-q", "-m", f"{number}", cwd=folder)
        run(*words, "gc", "-q", cwd=folder)
        run(*words, "clone", "-q", folder, folder / "clone")
        run(*words, "checkout", "-q", "HEAD~3", cwd=folder / "clone")
        assert (folder / "clone" / "notes.txt").read_text() == "version 1\n" * 100
        assert (folder / "clone" / "data0001.edf").read_bytes() == (folder / "data0001.edf").read_bytes()
        for place in (folder, folder / "clone"):
            assert "error" not in run(*words, "fsck", "--full", cwd=place).stdout
        assert run(*words, "status", "--short", cwd=folder).stdout.split() == ["??", "clone/"]


@pytest.mark.parametrize("journal", ["wal", "delete", "truncate"])
def test_a_database_with_several_writers(mount: Mount, url: str, journal: str) -> None:
    """SQLite relies on locks, on shared memory (wal), and on what is removed and made anew."""
    with mount(url) as folder:
        path = folder / "peaks.sqlite"
        base = sqlite3.connect(path)
        assert base.execute(f"pragma journal_mode={journal}").fetchone() == (journal,)
        base.execute("create table peaks(writer, number)")
        base.commit()
        words = [sys.executable, "-c", ADD_ROWS, str(path)]
        writers = [subprocess.Popen([*words, f"{number}"]) for number in range(WRITERS)]
        try:
            assert [writer.wait(200) for writer in writers] == [0] * WRITERS
        finally:
            for writer in writers:
                writer.kill()
        assert base.execute("select count(distinct writer || ',' || number) from peaks").fetchone() == (WRITERS * ROWS,)
        assert base.execute("pragma integrity_check").fetchone() == ("ok",)
        base.close()


def test_tar(mount: Mount, url: str, program: Program, run: Run, tree: Path) -> None:
    tar = program("tar")
    with mount(url) as folder:
        run(tar, "--format=posix", "-cSf", folder / "tree.tar", "-C", tree.parent, "tree")
        run(tar, "-xpf", folder / "tree.tar", "-C", folder)
        assert_same(tree, folder / "tree")
        assert os.path.samefile(folder / "tree" / "again", folder / "tree" / "sub" / "file 7")
        holes = (folder / "tree" / "sub" / "deeper" / "holes").stat()
        assert holes.st_blocks * 512 < holes.st_size
        run(tar, "-df", folder / "tree.tar", "-C", folder)


def test_rsync(mount: Mount, url: str, program: Program, run: Run, tree: Path) -> None:
    words = [program("rsync"), "-aHXS", "--delete", "--itemize-changes", f"{tree}/"]
    with mount(url) as folder:
        run(*words, folder / "tree")
        assert_same(tree, folder / "tree")
        (tree / "sub" / "file 3").unlink()
        (tree / "sub" / "file 4").write_text("other")
        changed = [line.split(maxsplit=1)[1] for line in run(*words, folder / "tree").stdout.splitlines()]
        assert_same(tree, folder / "tree")
        assert [name for name in changed if name.startswith("sub/file")] == ["sub/file 3", "sub/file 4"]


def test_a_program_is_built_and_run(mount: Mount, url: str, program: Program, run: Run) -> None:
    cc, make = program("cc"), program("make")
    with mount(url) as folder:
        (folder / "sum.c").write_text(
            "#include <stdio.h>\n"
            'int main(void) { FILE *f = fopen("data0001.edf", "rb"); unsigned long s = 0; int c;\n'
            'if (!f) return 1; while ((c = getc(f)) != EOF) s += (unsigned)c; printf("%lu\\n", s); return 0; }\n'
        )
        run(make, f"CC={cc}", "sum", cwd=folder)
        assert int(run(folder / "sum", cwd=folder).stdout) == sum((folder / "data0001.edf").read_bytes())
        assert "up to date" in run(make, "sum", cwd=folder).stdout
