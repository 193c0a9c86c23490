# SPDX-License-Identifier: MIT
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastlegacy.index.sidecar import SideFile
from fastlegacy.index.sizes import Sizes
from fastlegacy.pixels import Coded

LONG_S = 60


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONG_S)


def test_the_end_of_the_interpreter_is_not_held_up_and_nothing_is_lost(tmp_path: Path) -> None:
    program = """
import sys, threading
from pathlib import Path
from fastlegacy.index import sizes as module
from fastlegacy.index.sidecar import SideFile

module._CLOSE_PATIENCE_S = 0.01
begun = threading.Event()
def measure(frame):
    if frame == 2:
        begun.set()
        threading.Event().wait()
    return (1000 + frame,)
sizes = module.Sizes(measure, 10, what="it", side_file=SideFile(Path(sys.argv[1]), "key", []), threads=1)
print(sizes.get(0).size, sizes.get(1).size)
assert begun.wait(60)
"""
    path = tmp_path / "x.sizes"
    done = run(program, path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1000 1001\n", "")
    sizes = Sizes(pytest.fail, 10, what="it", side_file=SideFile(path, "key", []))
    assert [sizes.known(frame) for frame in (0, 1, 2)] == [Coded(1000), Coded(1001), None]
    sizes.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("held", ["a frame is being measured", "the lock is taken"])
def test_a_forked_child_waits_for_no_thread_of_its_parent(held: str) -> None:
    program = """
import os, sys, threading, warnings
from fastlegacy.index.sizes import Sizes
warnings.simplefilter("ignore")  # from Python 3.12 on, a fork beside threads is told

parent, begun, go = os.getpid(), threading.Event(), threading.Event()
def hold():
    if os.getpid() == parent:
        begun.set()
        assert go.wait(60)

class Kept:
    def load(self, shape):
        if "lock" in sys.argv[1]:
            hold()
    def save(self, rows): return rows
    def close(self): pass

def measure(frame):
    if frame == 2:
        hold()
    return (1000 + frame,)

sizes = Sizes(measure, 10, what="it", side_file=Kept(), threads=1)
first = threading.Thread(target=lambda: [sizes.get(frame) for frame in range(3)])
first.start()
assert begun.wait(60)
child = os.fork()
if not child:
    right = [sizes.get(frame).size for frame in range(10)] == list(range(1000, 1010))
    sizes.close()
    os._exit(0 if right and threading.active_count() == 1 else 1)
_, status = os.waitpid(child, 0)
go.set()
first.join()
sizes.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""
    done = run(program, held)
    assert (done.returncode, done.stderr) == (0, "")
