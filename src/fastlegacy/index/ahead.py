# SPDX-License-Identifier: MIT
"""Which frames a program will want next: in go the frames that it asks for, out come those to be measured ahead.

Each run of requests in one direction is a *stream*, of which there can be several at once. The window ahead of a
stream doubles with each of its requests, as read-ahead of files does: a single request costs nothing more, and a
listing of a folder soon has all cores at work.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Ahead"]

_WINDOW = 256
# Requests of one program come in order, but the threads that answer them may pass each other by a few frames
_NEAR = 4
_STREAMS = 16


@dataclass(slots=True)
class _Stream:
    front: int
    planned: int
    step: int = 0
    window: int = 0

    def ask(self, frame: int) -> bool:
        """Note a request near the front; tell whether the stream has moved on."""
        if frame == self.front:
            return False
        step = 1 if frame > self.front else -1
        if self.step == -step:
            # late, or the way back: then it soon is far enough from the front to be a stream of its own
            return False
        self.step, self.front = step, frame
        self.window = min(max(1, 2 * self.window), _WINDOW)
        return True

    def plan(self, frames: int) -> range:
        """Return what the window holds that was not planned before, nearest first."""
        end = min(max(self.front + self.step * self.window, 0), frames - 1)
        # the front may have jumped over the end of what was planned
        start = (max if self.step > 0 else min)(self.planned, self.front) + self.step
        todo = range(start, end + self.step, self.step)
        if todo:
            self.planned = end
        return todo


class Ahead:
    """Follows the requests for the frames of one stack. Not safe for threads.

    Parameters
    ----------
    frames : int
        How many there are.
    """

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._streams: list[_Stream] = []

    def ask(self, frame: int) -> range:
        """Return the frames to be measured ahead, nearest first, now that this one was asked for.

        No frame comes twice as long as a stream goes on in one direction.
        """
        stream = min(self._streams, key=lambda stream: abs(stream.front - frame), default=None)
        if stream is None or abs(stream.front - frame) > _NEAR:
            # the one that was asked for the longest time ago makes room
            self._streams = [*self._streams[-_STREAMS + 1 :], _Stream(frame, frame)]
            return range(0)
        if self._streams[-1] is not stream:
            self._streams.remove(stream)
            self._streams.append(stream)
        return stream.plan(self._frames) if stream.ask(frame) else range(0)
