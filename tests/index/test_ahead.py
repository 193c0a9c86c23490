# SPDX-License-Identifier: MIT
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy.index.ahead import Ahead


def asked(frames: int, *wanted: int) -> list[list[int]]:
    ahead = Ahead(frames)
    return [list(ahead.ask(frame)) for frame in wanted]


def test_one_request_leads_to_nothing() -> None:
    assert asked(100, 50) == [[]]
    assert asked(100, 50, 50, 50) == [[], [], []]


def test_the_window_doubles_with_each_request() -> None:
    assert asked(1000, 0, 1, 2, 3) == [[], [2], [3, 4], [5, 6, 7]]


def test_the_way_back_is_followed_too() -> None:
    assert asked(1000, 999, 998, 997) == [[], [997], [996, 995]]


def test_the_window_does_not_grow_for_ever() -> None:
    plans = asked(100_000, *range(5000))
    assert max(map(max, plans[1:])) == 4999 + 256
    assert all(len(plan) <= 256 for plan in plans)


def test_nothing_lies_beyond_the_ends() -> None:
    assert asked(5, *range(5)) == [[], [2], [3, 4], [], []]
    assert asked(5, *reversed(range(5))) == [[], [2], [1, 0], [], []]


def test_requests_far_apart_are_no_stream() -> None:
    assert asked(1000, *range(0, 1000, 10)) == [[]] * 100


def test_requests_that_passed_each_other_are_one_stream() -> None:
    plans = asked(1000, 0, 2, 1, 4, 3, 6, 5, 8, 7)
    assert sorted(frame for plan in plans for frame in plan) == [3, *range(5, 17)]


def test_a_stream_that_turns_is_followed() -> None:
    there, back = range(100, 120), range(118, 100, -1)
    plans = asked(1000, *there, *back)
    assert set(range(100)) <= {frame for plan in plans[len(there) :] for frame in plan}


def test_a_wrong_first_guess_is_mended() -> None:
    plans = asked(1000, 1, 0, *range(2, 20))
    assert max(frame for plan in plans for frame in plan) > 100


def test_several_programs_at_once_have_a_stream_each() -> None:
    one, other = asked(1000, *range(10)), asked(1000, *range(500, 510))
    both = asked(1000, *(frame for pair in zip(range(10), range(500, 510), strict=True) for frame in pair))
    assert both == [plan for pair in zip(one, other, strict=True) for plan in pair]


def test_a_program_that_pauses_keeps_its_stream() -> None:
    busy = [frame for pair in zip(range(2000, 2100), range(5000, 5100), strict=True) for frame in pair]
    assert asked(10_000, 0, 1, *busy, 9000, 2)[-1] == [3, 4]


def test_a_stream_that_nobody_follows_makes_room() -> None:
    many = [100 * number for number in range(1, 50)]
    assert asked(10_000, 0, *many, 1)[-1] == []
    assert asked(10_000, *many, many[-1] + 1)[-1] == [many[-1] + 2]


@given(st.integers(1, 40), st.lists(st.integers(0, 39), max_size=80))
def test_whatever_is_asked_for_the_plan_is_of_frames_that_there_are(frames: int, wanted: list[int]) -> None:
    ahead = Ahead(frames)
    for frame in wanted:
        plan = ahead.ask(frame % frames)
        assert set(plan) <= set(range(frames)) - {frame % frames}


@given(st.integers(2, 2000), st.booleans())
def test_a_listing_plans_each_frame_once(frames: int, is_backward: bool) -> None:
    order = list(reversed(range(frames)) if is_backward else range(frames))
    plans = asked(frames, *order)
    assert [frame for plan in plans for frame in plan] == order[2:]
