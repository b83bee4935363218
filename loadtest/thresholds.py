"""What makes a run fail: locust ends with exit code 1 and says why."""

from typing import Any

from locust import events
from locust.runners import WorkerRunner

from loadtest.calls import SHED
from loadtest.generator import CHECK, GeneratorCheck


def install() -> None:
    """Look at the figures when the run is over."""
    events.quitting.add_listener(_judge)


def _judge(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        return
    lag, share = CHECK.worst()
    print(f"generator: 99 % of its own turns at most {lag:.1f} ms late, {100 * share:.0f} % of a core at most")
    if CHECK.is_limit:
        print("generator: IT IS THE LIMIT, so the figures are not the system's; use more --processes or fewer users")
    found = problems(environment.stats, environment.parsed_options, CHECK)
    for problem in found:
        print(f"threshold: {problem}")
    if found:
        environment.process_exit_code = 1
    elif judged(environment.parsed_options):
        # Locust's own verdict is that any failure fails the run; here the thresholds decide.
        environment.process_exit_code = 0


def judged(options: Any) -> bool:
    """Return whether any threshold was set."""
    single = (options.most_failed, options.most_shed, options.most_generator_lag)
    return bool(options.p50 or options.p99 or options.least_rate) or any(value is not None for value in single)


def problems(stats: Any, options: Any, check: GeneratorCheck) -> list[str]:
    """Return what in ``stats`` is beyond the thresholds of ``options``."""
    answered = [entry for (_, kind), entry in stats.entries.items() if kind != SHED]
    shed = sum(entry.num_requests for (_, kind), entry in stats.entries.items() if kind == SHED)
    total = sum(entry.num_requests for entry in answered) + shed
    found = [] if total else ["nothing was sent"]
    for share, percentile in ((0.5, options.p50), (0.99, options.p99)):
        for name, limit in map(_pair, percentile):
            worst = max((entry.get_response_time_percentile(share) for entry in _named(answered, name)), default=None)
            if worst is None or worst > limit:
                told = "was never called" if worst is None else f"took {worst:.0f} ms"
                found.append(f"{name}: percentile {100 * share:.0f} {told}, at most {limit:g} ms are allowed")
    for name, limit in map(_pair, options.least_rate):
        rate = sum(entry.total_rps for entry in _named(answered, name))
        if rate < limit:
            found.append(f"{name}: {rate:.1f} a second, at least {limit:g} are wanted")
    failed = sum(entry.num_failures for entry in answered)
    for told, count, most in (("failed", failed, options.most_failed), ("shed", shed, options.most_shed)):
        if most is not None and total and count / total > most:
            found.append(f"{count} of {total} calls {told}, at most {100 * most:g} % may")
    lag = check.worst()[0]
    if options.most_generator_lag is not None and lag > options.most_generator_lag:
        found.append(f"the generator was {lag:.1f} ms late, at most {options.most_generator_lag:g} are allowed")
    return found


def _named(entries: list[Any], name: str) -> list[Any]:
    """Return the entries of ``name``; of all calls for ``all``."""
    return [entry for entry in entries if name in ("all", entry.name)]


def _pair(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    if not name:
        raise SystemExit(f"loadtest: {text!r} is not of the form NAME=NUMBER")
    return name, float(number)
