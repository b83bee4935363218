import numpy as np
import pytest

from semface.evaluation.embedding_population import EmbeddingPopulation, fit_population, split_population

RANDOM = np.random.default_rng(0)


def skewed(size: float) -> np.ndarray:
    """Return a factor (512, 512) whose first directions count most."""
    return np.diag(size * np.linspace(1, 0.1, 512)).astype(np.float32)


def test_the_spread_of_a_person_and_between_people_are_found_again() -> None:
    mean = np.linspace(-1, 1, 512, dtype=np.float32)
    between, within = skewed(2.0), skewed(1.0)
    people = mean + RANDOM.standard_normal((6000, 512), np.float32) @ between
    first, second = (people + RANDOM.standard_normal(people.shape, np.float32) @ within for _ in range(2))
    fitted = fit_population(np.concatenate([first, second]), first - second)
    assert np.abs(fitted.mean - mean).max() < 0.1
    for found, made in ((fitted.between, between), (fitted.within, within)):
        covariance, wanted = found.T @ found, made.T @ made
        assert np.trace(covariance) == pytest.approx(np.trace(wanted), rel=0.05)
        assert np.linalg.norm(covariance - wanted) < 0.35 * np.linalg.norm(wanted)


def test_a_probe_is_of_the_person_of_its_row_and_of_the_told_cosine() -> None:
    population = split_population(RANDOM.standard_normal((4000, 512)).astype(np.float32), 0.6)
    templates, rows, probes = population.draw(12_000, 300, seed=1)
    scores = probes @ templates.T
    assert (scores.argmax(axis=1) == rows).all()
    assert scores[np.arange(300), rows].mean() == pytest.approx(0.6, abs=0.02)
    assert np.linalg.norm(np.concatenate([templates, probes]), axis=1) == pytest.approx(1, abs=1e-5)


def test_the_same_seed_draws_the_same_people() -> None:
    population = EmbeddingPopulation(np.zeros(512, np.float32), skewed(1.0), skewed(0.5))
    for one, other in zip(population.draw(50, 5, seed=3), population.draw(50, 5, seed=3), strict=True):
        assert (one == other).all()
