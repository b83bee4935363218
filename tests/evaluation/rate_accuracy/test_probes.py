"""The probes find what is there and nothing else."""

import numpy as np

from semface.evaluation.rate_accuracy.probes import fit_logistic, fit_ridge, softmax


def test_ridge_finds_a_linear_map() -> None:
    random = np.random.default_rng(0)
    inputs, weights = random.normal(2, 5, (500, 6)), random.normal(size=(6, 3))
    found = fit_ridge(inputs, inputs @ weights + 4.0)
    fresh = random.normal(2, 5, (50, 6))
    np.testing.assert_allclose(found(fresh), fresh @ weights + 4.0, atol=0.3)


def test_logistic_regression_reaches_the_likelihood_of_the_truth() -> None:
    random = np.random.default_rng(1)
    inputs, weights = random.normal(size=(4000, 5)), random.normal(size=(5, 3))
    chance = softmax(inputs @ weights)
    labels = (random.uniform(size=(4000, 1)) > chance.cumsum(axis=1)).sum(axis=1)
    told = softmax(fit_logistic(inputs, labels, 3)(inputs))
    rows = np.arange(4000)
    assert np.log(told[rows, labels]).mean() >= np.log(chance[rows, labels]).mean()


def test_labels_without_a_cause_are_told_by_chance() -> None:
    random = np.random.default_rng(2)
    inputs, labels = random.normal(size=(3000, 8)), random.integers(0, 4, 3000)
    found = fit_logistic(inputs[:2000], labels[:2000], 4)
    assert abs((found(inputs[2000:]).argmax(axis=1) == labels[2000:]).mean() - 0.25) < 0.05


def test_a_balanced_probe_does_not_forget_a_rare_class() -> None:
    random = np.random.default_rng(3)
    labels = (random.uniform(size=3000) < 0.05).astype(int)
    inputs = random.normal(size=(3000, 4)) + labels[:, None] * 0.8
    plain, balanced = (fit_logistic(inputs, labels, 2, balanced=alike) for alike in (False, True))
    rare = inputs[labels == 1]
    assert (balanced(rare).argmax(axis=1) == 1).mean() > 0.7 > (plain(rare).argmax(axis=1) == 1).mean()
    # A class that never occurs is no obstacle.
    assert np.isfinite(fit_logistic(inputs, labels, 3, balanced=True)(inputs)).all()
