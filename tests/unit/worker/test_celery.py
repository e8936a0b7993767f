"""A consumer that is up and takes nothing is noticed; one with nothing to take, or no broker, is left alone."""

from __future__ import annotations

from kombu.exceptions import OperationalError

from worker.celery import DEAF_SECONDS, LOOK_SECONDS, Hearing


class Scene:
    def __init__(self) -> None:
        self.time = 100.0
        self.queue: int | None = 0
        self.hearing = Hearing(self.waiting, now=lambda: self.time)

    def waiting(self) -> int:
        if self.queue is None:
            raise OperationalError("away")
        return self.queue

    def looks(self, seconds: float) -> bool:
        until = self.time + seconds
        while self.time < until:
            self.time += LOOK_SECONDS
            if not self.hearing.look():
                return False
        return True


def test_an_empty_queue_for_hours_is_no_fault() -> None:
    assert Scene().looks(10_000)


def test_messages_that_nobody_takes_are_a_fault_after_a_while() -> None:
    scene = Scene()
    assert scene.looks(1_000)
    scene.queue = 3
    assert scene.looks(DEAF_SECONDS - LOOK_SECONDS)
    assert not scene.looks(2 * LOOK_SECONDS)


def test_a_queue_that_is_long_but_moves_is_no_fault() -> None:
    scene = Scene()
    scene.queue = 100_000
    for _ in range(20):
        scene.hearing.heard()
        assert scene.looks(DEAF_SECONDS - LOOK_SECONDS)


def test_a_broker_that_is_away_is_no_fault_of_the_consumer() -> None:
    scene = Scene()
    scene.queue = 5
    scene.looks(DEAF_SECONDS - LOOK_SECONDS)
    scene.queue = None
    assert scene.looks(1_000)
    scene.queue = 5
    assert scene.looks(DEAF_SECONDS - LOOK_SECONDS)
