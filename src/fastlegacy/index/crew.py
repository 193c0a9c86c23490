# SPDX-License-Identifier: MIT
"""Threads for work that nobody waits for: they begin with the first job and end by themselves.

They are daemon threads, which the interpreter does not wait for at its end, as it does for those of
``concurrent.futures``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

__all__ = ["Crew"]

_log = logging.getLogger("fastlegacy.sizes")

_IDLE_S = 5.0

Job = Callable[[], object]


class Crew:
    """Does jobs in the order in which they came, on a few threads.

    Parameters
    ----------
    threads : int
        At most so many; 0: jobs are dropped.
    """

    def __init__(self, threads: int) -> None:
        self._limit = threads
        self._condition = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._threads: set[threading.Thread] = set()
        # a thread on its way out is still one to wait for, but takes no job any more
        self._working = self._idle = 0
        self._stopped = False
        self._seen: set[type[Exception]] = set()  # kinds of errors that were told

    def add(self, jobs: Iterable[Job], rest: Job | None = None) -> None:
        """Take jobs, and start threads as needed. After :meth:`stop` they are dropped.

        Parameters
        ----------
        jobs : iterable of callable
        rest : callable, optional
            What a thread that is started for them does when it ends because there was nothing to do for some seconds.
        """
        with self._condition:
            if self._stopped or not self._limit:
                return
            self._jobs.extend(jobs)
            self._condition.notify(len(self._jobs))
            for _ in range(min(self._limit - self._working, len(self._jobs) - self._idle)):
                if not self._started(rest):
                    return

    def stop(self, patience_s: float) -> None:
        """Drop the jobs that nobody has begun, and wait for the threads, but not longer than so many seconds."""
        with self._condition:
            self._stopped = True
            self._jobs.clear()
            self._condition.notify_all()
            threads = self._threads - {threading.current_thread()}
        end = time.monotonic() + patience_s
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _started(self, rest: Job | None) -> bool:
        # the thread has it and not the crew, whose owner would be in a ring with it, and be there for much longer
        thread = threading.Thread(target=self._run, args=(rest,), name="fastlegacy-sizes", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # too many threads, or the interpreter is about to end: whoever wants a size measures it himself
            _log.debug("no thread for measuring ahead: %s", error)
            return False
        self._threads.add(thread)
        self._working += 1
        return True

    def _run(self, rest: Job | None) -> None:
        try:
            while (job := self._next()) is not None:
                self._do(job)
            if rest is not None and not self._stopped:
                self._do(rest)
        finally:
            with self._condition:
                self._threads.discard(threading.current_thread())

    def _next(self) -> Job | None:
        with self._condition:
            self._idle += 1
            self._condition.wait_for(lambda: self._jobs or self._stopped, _IDLE_S)
            self._idle -= 1
            if self._jobs:
                return self._jobs.popleft()
            self._working -= 1
            return None

    def _do(self, job: Job) -> None:
        try:
            job()
        except Exception as error:
            # nobody waits for it, and the other jobs, of which there may be a million, are to be done
            level = logging.DEBUG if type(error) in self._seen else logging.ERROR
            self._seen.add(type(error))
            _log.log(level, "internal error while measuring ahead: %s", error, exc_info=True)
