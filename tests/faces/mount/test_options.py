# SPDX-License-Identifier: MIT
"""Mount options: what the user gives, and what is chosen."""

from __future__ import annotations

import os

import pytest

from fastlegacy.errors import MountError
from fastlegacy.faces.mount.options import mount_options, parsed


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {}),
        ((), {}),
        ("ro,attr_timeout=0", {"ro": None, "attr_timeout": "0"}),
        (["ro", "fsname=a\\,b"], {"ro": None, "fsname": "a,b"}),
    ],
)
def test_parsed(given: object, expected: dict[str, str | None]) -> None:
    assert parsed(given) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["", "a b", "ro,,x", "subtype=x", "fd=3", "-o ro"])
def test_what_is_no_option(given: str) -> None:
    with pytest.raises(MountError, match="mount option"):
        parsed(given)


def test_the_user_has_the_last_word() -> None:
    found = mount_options("a,b", kernel_checks=True, allow_other=True, user={"max_background": "7", "ro": None})
    assert {"fsname=a\\,b", "subtype=fastlegacy", "nonempty", "default_permissions", "allow_other", "ro"} <= set(found)
    assert [text for text in found if text.startswith("max_background")] == ["max_background=7"]
    assert not any("direct_io" in text for text in found), "numpy.memmap would not work"


def test_a_user_of_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = mount_options("s", kernel_checks=False, allow_other=False, user={})
    assert not {"auto_unmount", "default_permissions", "allow_other"} & set(found)
