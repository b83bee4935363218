"""A user that does one of its actions after the other, or, at a fixed arrival rate, without waiting for answers."""

import random
import time
from typing import Any, ClassVar, Final

import gevent
from gevent.pool import Pool
from locust import User, task

from loadtest.calls import Reporter, due_at

MOST_UNANSWERED: Final = 2000
"""Actions of one user that may be under way at a fixed arrival rate; one more is told as a failure."""


class ActingUser(User):
    """Chooses among ``actions``, which are names of methods with their weights."""

    abstract = True
    actions: ClassVar[dict[str, int]] = {}

    def __init__(self, environment: Any) -> None:
        """Act against the system that the options of ``environment`` name."""
        super().__init__(environment)
        self.options = environment.parsed_options
        self.report = Reporter(environment, patient=not self.options.arrival_rate)
        self._under_way = Pool(MOST_UNANSWERED)
        self._due = 0.0

    @task
    def act(self) -> None:
        """Do one action; at a fixed rate, when it is due, in a greenlet of its own."""
        (name,) = random.choices(list(self.actions), list(self.actions.values()))
        action = getattr(self, name)
        if not self.options.arrival_rate:
            action()
            return
        now = time.perf_counter()
        rate = self.options.arrival_rate / max(1, self.options.num_users or 1)
        # Poisson: what users who do not know of each other look like.
        self._due = max(self._due, now - 1.0) + random.expovariate(rate) if self._due else now
        gevent.sleep(max(0.0, self._due - now))
        if self._under_way.full():
            self.environment.events.request.fire(
                request_type="generator",
                name=name,
                response_time=0.0,
                response_length=0,
                exception=RuntimeError("too many unanswered"),
                context={},
            )
            return
        self._under_way.spawn(self._act_at, self._due, action)

    def on_stop(self) -> None:
        """Leave what is under way."""
        self._under_way.kill()

    @staticmethod
    def _act_at(moment: float, action: Any) -> None:
        due_at(moment)
        action()
