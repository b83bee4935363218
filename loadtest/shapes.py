"""How the number of users changes in a run; `--users` is the most, `--run-time` the length."""

from collections.abc import Callable
from typing import Final

from locust import LoadTestShape

STEPS: Final = 8
"""Steps to saturation: an eighth of the users more at each."""


def constant(_: float) -> float:
    """All users from the start: a soak where the run is long."""
    return 1.0


def ramp(passed: float) -> float:
    """From none to all, evenly."""
    return passed


def steps(passed: float) -> float:
    """To saturation in equal steps, so that each can be read off the report."""
    return (int(passed * STEPS) + 1) / STEPS


def spike(passed: float) -> float:
    """A tenth of the users, all of them in the middle fifth, then a tenth again."""
    return 1.0 if 0.4 <= passed < 0.6 else 0.1


SHAPES: Final[dict[str, Callable[[float], float]]] = {
    "constant": constant,
    "soak": constant,
    "ramp": ramp,
    "steps": steps,
    "spike": spike,
}
"""Each shape: from the share of the run that has passed (0 to 1) to the share of users (0 to 1)."""

DEFAULT_SECONDS: Final = {"soak": 3600.0}
"""Length of a run where none is named; else a minute."""


class ChosenShape(LoadTestShape):
    """The shape named by `--shape`."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there should be and how many may start in a second; None when the run is over."""
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        length = options.run_time or DEFAULT_SECONDS.get(options.shape, 60.0)
        passed = self.get_run_time() / length
        if passed >= 1:
            return None
        most = options.num_users or 1
        return max(1, round(most * SHAPES[options.shape](passed))), options.spawn_rate or most
