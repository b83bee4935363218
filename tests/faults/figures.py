"""Show the worst of each figure that the last `make faults` noted: ``python -m tests.faults.figures``."""

import json
from collections import defaultdict

from tests.faults.conftest import FIGURES


def main() -> None:
    """Print test, what is told, the worst value, and over how many runs."""
    seen: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    day = ""
    for line in FIGURES.read_text().splitlines():
        noted = json.loads(line)
        seen[noted["test"], noted["told"]].append(noted["value"])
        day = noted["at"]
    for (test, told), values in seen.items():
        print(f"{test}\n    {told}: {max(values):g} (worst of {len(values)}, {day})")


if __name__ == "__main__":
    main()
