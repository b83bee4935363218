"""Tell of each part how many lines and branches the tests ran; ``make coverage`` ends with it."""

import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Final

import coverage

PARTS: Final = {
    "codec": ("*/semface/codec/*",),
    "extraction": ("*/semface/extraction/*",),
    "enrolment": ("*/semface/gateway/enrolled/*", "*/semface/gateway/enrollment.py"),
    "security": ("*/semface/access/*",),
}
LEAST: Final = 0.95


def shares(measured: coverage.Coverage, files: tuple[str, ...]) -> tuple[float, float]:
    """Return which share of the lines and of the branches of ``files`` ran."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        measured.json_report(outfile=str(report), include=list(files))
        totals = json.loads(report.read_text())["totals"]
    return totals["covered_lines"] / totals["num_statements"], totals["covered_branches"] / totals["num_branches"]


def main() -> None:
    """Print the shares, and what did not run of a part with too little."""
    measured = coverage.Coverage()
    measured.load()
    short = []
    for part, files in PARTS.items():
        lines, branches = shares(measured, files)
        print(f"{part:12} lines {lines:6.1%}  branches {branches:6.1%}")
        if min(lines, branches) < LEAST:
            told = io.StringIO()
            measured.report(include=list(files), show_missing=True, skip_covered=True, file=told)
            short.append(told.getvalue())
    if short:
        sys.exit("\n".join([f"fewer than {LEAST:.0%}:", *short]))


if __name__ == "__main__":
    main()
