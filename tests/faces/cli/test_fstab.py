# SPDX-License-Identifier: MIT
"""The helper of mount(8): its options as those of ``fastlegacy mount``, and what mount(8) makes of it."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastlegacy.errors import UrlError
from fastlegacy.faces.cli import fstab, mount
from fastlegacy.faces.cli.fstab import main, words_of
from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.frames import detector_frames
from fastlegacy.testing.mounts import reason_for_no_mount

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("defaults,rw,noauto,nofail,_netdev,user,x-systemd.automount,relatime,comment=a", []),
        ("format=cbf", ["--format=cbf"]),
        ('format="cbf,edf",follow', ["--format=cbf,edf", "--follow"]),
        (r"format=cbf\,edf", ["--format=cbf,edf"]),
        ("allow_other,log_file=/var/log/x", ["--allow-other", "--log-file=/var/log/x"]),
        ("option=a=b,option=c=d", ["--option=a=b", "--option=c=d"]),
        ("ro,noexec,attr_timeout=5", ["-o", "ro,noexec,attr_timeout=5"]),
        ('rw,stem="my scan",nosuid', ["--stem=my scan", "-o", "nosuid"]),
        ("startangle=-90deg", ["--startangle=-90deg"]),
    ],
)
def test_options_of_mount(text: str, words: list[str]) -> None:
    assert words_of(text) == (words, None)


def test_who_mounts() -> None:
    assert words_of("setuid=opid11,format=cbf") == (["--format=cbf"], "opid11")


@pytest.mark.parametrize("text", ["formt=cbf", "format", "follow=yes", "background", "help=x"])
def test_options_that_are_not_understood(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UrlError):
        words_of(text)
    assert main(["scan.h5", "/nowhere", "-o", text]) == 1
    assert capsys.readouterr().err.startswith("mount.fastlegacy: ")


def test_a_sloppy_mount_passes_over_what_it_does_not_know() -> None:
    assert words_of("formt=cbf,format=edf", sloppy=True) == (["--format=edf"], None)


def test_what_is_called_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    codes = iter([0, 1, 2])
    monkeypatch.setattr(fstab, "run", lambda words: (calls.append(words), next(codes))[1])
    command = ["scan.h5::/x", "/mnt", "-v", "-n", "-t", "fastlegacy", "-o", "rw", "-o", "format=cbf"]
    assert [main(command) for _ in range(3)] == [0, 32, 1]
    assert calls[0] == ["mount", "--background", "-v", "--format=cbf", "--", "scan.h5::/x", "/mnt"]
    assert main(["-f", *command]) == 0
    assert len(calls) == 3, "nothing is mounted by a fake"
    assert main(["scan.h5"]) == 1


def test_a_user_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan.h5", "/nowhere", "-o", "setuid=no-such-user"]) == 1
    assert "no-such-user" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_it_goes_on_as_the_user_that_is_named() -> None:
    program = """
import os, pwd, sys
from fastlegacy.faces.cli import fstab
fstab.run = lambda words: print(os.getuid(), os.geteuid(), os.getgid(), os.environ["HOME"], sorted(
    key for key in os.environ if key.startswith("XDG_"))) or 0
sys.exit(fstab.main(["scan.h5", "/nowhere", "-o", "setuid=nobody"]))
"""
    environment = {**os.environ, "XDG_RUNTIME_DIR": "/run/user/0"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    import pwd

    nobody = pwd.getpwnam("nobody")
    uid = nobody.pw_uid
    assert done.stdout == f"{uid} {uid} {nobody.pw_gid} {nobody.pw_dir} []\n"


# ------------------------------------------------------------------------------------ packaging


@pytest.mark.programs
@pytest.mark.fuse
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can put a helper where mount(8) looks for it")
@pytest.mark.skipif(bool(reason_for_no_mount()), reason=str(reason_for_no_mount()))
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_mount_by_its_type(tmp_path: Path) -> None:
    url = bliss_scan(tmp_path, detector_frames(3, (20, 30), "u2"))
    (tmp_path / "sbin").mkdir()
    helper = (ROOT / "packaging" / "mount.fastlegacy").read_text()
    python = f"env PYTHONPATH={ROOT / 'src'} {sys.executable}"
    (tmp_path / "sbin" / "mount.fastlegacy").write_text(helper.replace("/opt/fastlegacy/bin/python", python))
    (tmp_path / "sbin" / "mount.fastlegacy").chmod(0o755)
    folder, line = tmp_path / "work", tmp_path / "fstab"
    folder.mkdir()
    options = f'format="cbf,edf",noauto,nofail,log-file={tmp_path / "log"},pid-file={tmp_path / "pid"}'
    line.write_text(f"{url} {folder} fastlegacy {options} 0 0\n")
    # in a name space of its own nobody else sees that there is one program more
    script = f"""
        set -e
        findmnt -rno TARGET -t fuse.fastlegacy | while read -r other; do umount -l "$other"; done
        gone() {{ for i in $(seq 600); do [ -e {folder}_real ] || return 0; sleep 0.1; done; }}
        mount -t overlay overlay -o lowerdir={tmp_path / "sbin"}:/usr/sbin /usr/sbin
        mount -t fastlegacy {shlex.quote(url)} {folder} -o format=flat,log-file={tmp_path / "log"} 2>&1
        ls {folder}
        findmnt -n -o FSTYPE {folder}
        umount {folder}
        gone
        mount -T {line} {folder} 2>&1
        ls {folder}
        umount {folder}
        gone
        mount -t fastlegacy {tmp_path}/nothing.h5 {folder} 2>&1 || echo $?
    """
    command = ["unshare", "-m", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("fastlegacy: ")]
    assert lines == [*(f"data000{number}.raw" for number in (1, 2, 3)), "fuse.fastlegacy", "cbf", "edf", "32"]
    assert f"{tmp_path}/nothing.h5: is not there" in done.stdout


WORDS_OF_OUR_FSTAB = {
    "/legacy": (["--format=cbf,edf", "--allow-other"], "opid11"),
    "/legacy1": (["--format=cbf", "--log-file=/var/log/fastlegacy.log"], None),
    "/legacy2": ([], None),
}


def lines_of_our_fstab() -> list[list[str]]:
    """The lines of ``packaging/fstab``, by their fields."""
    text = (ROOT / "packaging" / "fstab").read_text()
    return [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_each_line_of_our_fstab_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: dict[str, tuple[list[str], str | None]] = {}
    user: list[str] = []
    parser = argparse.ArgumentParser()
    mount.COMMAND.configure(parser)

    def run(words: list[str]) -> int:
        assert words[:2] == ["mount", "--background"]
        assert parser.parse_args(words[1:]).words == words[-2:], "the command itself understands them"
        calls[words[-1]] = words[2:-3], user.pop() if user else None
        return 0

    monkeypatch.setattr(fstab, "_become", user.append)
    monkeypatch.setattr(fstab, "run", run)
    for source, folder, kind, options, *numbers in lines_of_our_fstab():
        assert (kind, numbers) == ("fastlegacy", ["0", "0"])
        assert main([source, folder, "-o", options]) == 0
    assert calls == WORDS_OF_OUR_FSTAB


@pytest.mark.programs
@pytest.mark.skipif(shutil.which("findmnt") is None, reason="findmnt is not installed")
def test_findmnt_finds_no_error_in_our_fstab(tmp_path: Path) -> None:
    table = tmp_path / "fstab"
    rows = []
    for number, fields in enumerate(lines_of_our_fstab()):
        (tmp_path / str(number)).mkdir()  # the folders of the lines are the administrator's to make
        rows.append(" ".join([fields[0], str(tmp_path / str(number)), *fields[2:]]))
    table.write_text("\n".join(rows) + "\n")

    def verified() -> str:
        command = ["findmnt", "--verify", "--tab-file", table]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"})
        return done.stdout + done.stderr

    assert "0 parse errors, 0 errors" in verified()
    table.write_text("broken\n")
    assert "0 parse errors, 0 errors" not in verified(), "it would have told"


@pytest.mark.programs
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    text = (ROOT / "packaging" / "fastlegacy@.service").read_text()
    unit = tmp_path / "fastlegacy@.service"
    unit.write_text(text.replace("/opt/fastlegacy/bin/fastlegacy", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
