"""`semface eval recognisers`: every recogniser on the same faces, with the networks that are served."""

import asyncio

import numpy as np
import pytest

from semface.evaluation import recogniser_comparison
from semface.evaluation.recogniser_comparison import SHOWN_BY_BOTH, RecogniserFigures, compare_recognisers
from semface.evaluation.synthetic_scans import TRAINING_PEOPLE
from semface.extraction.scans.mesh import Scan
from semface.inference.embedded import EmbeddedEngine
from semface.meaning import SCAN_EXPRESSIONS
from semface.recognisers import RECOGNISERS, find_recogniser
from semface.rpc.settings import ServerSettings
from tests.extraction.scans.heads import ball, head


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recogniser_comparison, "ROUNDS", 3)


def compared(shown: dict[int, Scan], people: int = 1) -> tuple[dict[str, RecogniserFigures], list[tuple[int, int]]]:
    """The figures by name where expression number k shows ``shown[k]``, or the head; and who was drawn in what."""
    drawn: list[tuple[int, int]] = []

    def scan_of(person: int, expression: int) -> Scan:
        drawn.append((person, expression))
        return shown.get(expression, head())

    async def work() -> list[RecogniserFigures]:
        repository = ServerSettings().model_repository
        engine = EmbeddedEngine(repository, 1)
        try:
            return await compare_recognisers(engine, repository, scan_of, people, lambda done: None)
        finally:
            await engine.close()

    return {figures.model: figures for figures in asyncio.run(work())}, drawn


def test_every_recogniser_is_asked_about_every_face_and_its_costs_are_told() -> None:
    figures, drawn = compared({}, people=2)
    assert list(figures) == list(RECOGNISERS)
    assert drawn == [
        (TRAINING_PEOPLE + person, SCAN_EXPRESSIONS.index(name)) for person in range(2) for name in SHOWN_BY_BOTH
    ]
    for told in figures.values():
        # The same face four times: a recogniser says one of the four expressions each time, and is right once.
        assert told.accuracy == 0.25
        assert told.standard_error == 0.0
        assert told.milliseconds > 0
    learned = {"expression_recognition": 917_944, "dan": 4_938_424, "slfer": 2_859_176, "amdfn": 3_141_092}
    assert {name: told.parameters for name, told in figures.items()} == pytest.approx(learned, rel=2e-3)


def test_a_scan_without_a_face_is_wrong_for_what_looks_at_scans() -> None:
    nowhere = {SCAN_EXPRESSIONS.index(name): ball() for name in SHOWN_BY_BOTH}
    figures, _ = compared(nowhere)
    assert figures["amdfn"].accuracy == 0.0
    assert figures["amdfn"].standard_error is None
    assert figures["dan"].accuracy == 0.25


@pytest.mark.parametrize(("model", "other"), [("dan", "surprise"), ("amdfn", "jaw_left")])
def test_an_expression_that_only_one_of_them_shows_is_no_answer(model: str, other: str) -> None:
    recogniser = find_recogniser(model)
    confidences = np.zeros(len(recogniser.classes), np.float32)
    confidences[recogniser.classes.index(other)] = 0.9
    confidences[recogniser.classes.index("anger")] = 0.1
    assert recogniser_comparison._choice(recogniser, confidences) == list(SHOWN_BY_BOTH).index("anger")
