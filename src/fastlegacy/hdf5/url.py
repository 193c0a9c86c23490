# SPDX-License-Identifier: MIT
"""Names of datasets: ``file.h5::/path``, ``file.h5?path=/path&slice=...``, or a file and a path as two words.

The grammar is that of silx's ``DataUrl`` (https://www.silx.org/doc/silx/latest/modules/io/url.html), with one
difference: where silx only logs that it could not understand a part, this raises.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from types import EllipsisType
from urllib.parse import parse_qsl, urlparse

from fastlegacy.errors import UrlError

__all__ = ["DataUrl", "parse_url"]

Selection = tuple[int | slice | EllipsisType, ...]

_SPECIAL = re.compile(r"[%&+;#=?\t\n\r]")  # what a url would take for something else than a name
_TWO_WORDS = "give the file and the dataset as two words"


@dataclass(frozen=True, slots=True)
class DataUrl:
    """A dataset in a file, perhaps a selection of it.

    Attributes
    ----------
    file : str
    dataset : str or None
        Path of the dataset in the file; None where only a file was named.
    selection : tuple or None
        Indices, slices and at most one ellipsis, as NumPy takes them.
    """

    file: str
    dataset: str | None = None
    selection: Selection | None = None

    def __str__(self) -> str:
        if self.dataset is None:
            return self.file
        dataset = _SPECIAL.sub(lambda found: f"%{ord(found[0]):02X}", self.dataset)
        if self.selection is None:
            return f"{self.file}::{dataset}"
        return f"{self.file}?path={dataset}&slice={','.join(map(_token_text, self.selection))}"


def parse_url(text: str | os.PathLike[str], dataset: str | None = None) -> DataUrl:
    """Understand the name of a dataset.

    Parameters
    ----------
    text : str or path
        A file, or a url when ``dataset`` is not given. A text that is the name of an existing file is that file,
        whatever characters are in it.
    dataset : str, optional
        Path of the dataset, taken as it is.

    Raises
    ------
    UrlError
        If a part of the url cannot be understood, or would be lost.
    """
    text = os.fspath(text)
    if not text:
        raise UrlError("the name of the HDF5 file is empty", hint="write file.h5::/path/of/dataset")
    if dataset is not None:
        return DataUrl(text, _absolute(dataset))
    if os.path.exists(text):
        return DataUrl(text)
    marked = text if "?" in text else text.replace("::", "?", 1)
    try:
        url = urlparse(marked)
    except ValueError as exc:  # brackets where an address of a machine would be
        raise UrlError(f"{text!r} cannot be understood: {exc}", hint=_TWO_WORDS) from exc
    if url.fragment or url.params or "#" in marked or ";" in url.path:
        raise UrlError(f"{text!r}: '#' and ';' have a meaning of their own in a url", hint=_TWO_WORDS)
    if len(url.scheme) > 2 and url.scheme != "silx":  # shorter ones are Windows drives
        raise UrlError(f"{text!r}: files of scheme {url.scheme!r} cannot be read", hint="name a file on this machine")
    file = url.path if len(url.scheme) > 2 else marked.partition("?")[0]
    if not file:
        raise UrlError(f"{text!r} names no file", hint="write file.h5::/path/of/dataset")
    if "?" not in marked:
        return DataUrl(file)
    return _with_query(text, file, url.query)


def _with_query(text: str, file: str, query: str) -> DataUrl:
    pairs = parse_qsl(query, keep_blank_values=True)
    if len(pairs) == 1 and pairs[0][1] == "" and "=" not in query:
        return DataUrl(file, _absolute(pairs[0][0]))
    values = dict(pairs)
    unknown = sorted(set(values) - {"path", "slice"})
    if unknown or len(values) < len(pairs):
        what = f"{unknown[0]!r} means nothing here" if unknown else "a key stands there twice"
        raise UrlError(f"{text!r}: {what}", hint=f"write file.h5?path=/path&slice=0:10, or {_TWO_WORDS}")
    if not values.get("path"):
        raise UrlError(f"{text!r} names no dataset", hint="write file.h5?path=/path&slice=0:10")
    selection = values.get("slice")
    return DataUrl(file, _absolute(values["path"]), None if selection is None else _selection(text, selection))


def _absolute(path: str) -> str:
    stripped = path.strip("/")
    if not stripped:
        raise UrlError(f"{path!r} names no dataset", hint="write file.h5::/path/of/dataset")
    return "/" + stripped


def _selection(text: str, tokens: str) -> Selection:
    try:
        selection = tuple(_token(token.strip()) for token in tokens.split(","))
    except ValueError as exc:
        raise UrlError(f"{text!r}: the slice {tokens!r} cannot be understood", hint="write slice=0:10,:,5") from exc
    if sum(token is ... for token in selection) > 1:
        raise UrlError(f"{text!r}: '...' can stand in a slice once", hint="write the other axes as ':'")
    return selection


def _token(token: str) -> int | slice | EllipsisType:
    if token == "...":
        return ...
    if ":" not in token:
        return int(token)
    numbers = [int(number) if number.strip() else None for number in token.split(":")]
    if len(numbers) > 3:
        raise ValueError(token)
    return slice(*numbers)


def _token_text(token: int | slice | EllipsisType) -> str:
    if token is ...:
        return "..."
    if isinstance(token, int):
        return str(token)
    text = f"{'' if token.start is None else token.start}:{'' if token.stop is None else token.stop}"
    return text if token.step is None else f"{text}:{token.step}"
