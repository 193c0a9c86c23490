# SPDX-License-Identifier: MIT
"""An export on several machines by Dask: in, what does one shard of it; out, what all of them have done.

Each task is one shard of the export that runs on one machine as well; the workers need the same files under the same
names. When a worker is lost, Dask gives its shards to others, which go on where it stopped.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastlegacy.errors import ExportError, UrlError
from fastlegacy.faces.shard import Shard

if TYPE_CHECKING:
    from fastlegacy.faces.export import ExportReport

__all__ = ["export_by_dask"]

_SHARDS_FOR_EACH = 8  # for each thread of a worker: who is lost takes little along, and nobody waits for the slowest
_CONNECT_S = 30

Job = Callable[[Shard], "ExportReport"]

Told = Callable[[int, int], None]
"""Is told how many of how many shards are done."""


def export_by_dask(address: str, job: Job, *, shards: int | None = None, told: Told | None = None) -> ExportReport:
    """Write the files of an export by the workers of a Dask cluster.

    Parameters
    ----------
    address : str
        Of Dask's scheduler, such as ``tcp://node01:8786``; ``"local"``: processes of this machine.
    job : callable
        Does one shard; it is sent to the workers by pickle.
    shards : int, optional
        In how many parts; by default some for each thread of a worker.
    told : callable, optional

    Returns
    -------
    ExportReport
        Of all shards together.

    Raises
    ------
    UrlError
        If Dask is not installed, or nobody answers at that address.
    ExportError
        If shards could not be written; all others are.
    """
    start = time.monotonic()
    with _client(address) as client:
        threads = max(1, sum(client.nthreads().values()))
        count = shards or _SHARDS_FOR_EACH * threads
        numbers = range(1, count + 1)
        tasks = [client.submit(job, Shard(number, count), pure=False) for number in numbers]
        reports, failures = _gathered(tasks, told)
    if failures:
        error = ExportError(
            f"{len(failures)} of {count} shards could not be written, the first because of: {failures[0]}",
            hint="the files of the others are complete; the same command tries again only what is missing",
        )
        raise error from failures[0]
    from fastlegacy.faces.export import ExportReport

    written, done, kept, size = (
        sum(getattr(report, name) for report in reports) for name in ("written", "done", "kept", "written_bytes")
    )
    return ExportReport(reports[0].folder, written, done, kept, size, time.monotonic() - start)


def _gathered(tasks: Sequence[Any], told: Told | None) -> tuple[list[ExportReport], list[BaseException]]:
    from distributed import as_completed

    reports: list[ExportReport] = []
    failures: list[BaseException] = []
    for done, task in enumerate(as_completed(tasks), 1):
        try:
            reports.append(task.result())
        except Exception as error:  # whatever it was there, or what became of the worker
            failures.append(error)
        if told is not None:
            told(done, len(tasks))
    return reports, failures


@contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UrlError("--dask needs Dask's scheduler", hint="pip install 'fastlegacy[dask]'") from error
    logging.getLogger("distributed").setLevel(logging.ERROR)  # it tells of each connection that comes and goes
    if address == "local":
        cores = len(os.sched_getaffinity(0))
        options: dict[str, Any] = {"n_workers": cores, "threads_per_worker": 1, "silence_logs": logging.ERROR}
        options["dashboard_address"] = "127.0.0.1:0"  # without one it would be the usual port, which another may have
        with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(address, timeout=_CONNECT_S)
    except (OSError, ValueError, TypeError) as error:
        hint = "give the address that `dask scheduler` prints, such as tcp://node01:8786, or local"
        raise UrlError(f"no Dask scheduler answers at {address!r} ({error})", hint=hint) from error
    with client:
        yield client
