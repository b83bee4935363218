"""The protocols' arithmetic on cases small enough to do by hand."""

import numpy as np
import pytest

from semface.evaluation import protocol

NAN = float("nan")


def truth(*values: int) -> np.ndarray:
    return np.array(values, dtype=bool)


def test_the_best_threshold_lies_between_the_scores_it_parts() -> None:
    scores, same = np.array([0.1, 0.2, 0.6, 0.9]), truth(0, 0, 1, 1)
    assert protocol.best_threshold(scores, same) == pytest.approx(0.4)
    assert protocol.accuracy_at(scores, same, 0.4) == 1.0


def test_the_best_threshold_takes_the_fewest_errors() -> None:
    scores, same = np.array([0.1, 0.3, 0.5, 0.7, 0.8]), truth(0, 1, 0, 1, 1)
    assert protocol.best_threshold(scores, same) == pytest.approx(0.2)
    assert protocol.accuracy_at(scores, same, protocol.best_threshold(scores, same)) == pytest.approx(0.8)


def test_when_all_pairs_are_of_one_kind_the_threshold_takes_or_refuses_all() -> None:
    scores = np.array([0.2, 0.4])
    assert protocol.accuracy_at(scores, truth(1, 1), protocol.best_threshold(scores, truth(1, 1))) == 1.0
    assert protocol.accuracy_at(scores, truth(0, 0), protocol.best_threshold(scores, truth(0, 0))) == 1.0


def test_a_pair_without_a_score_is_wrong_whatever_it_is() -> None:
    scores, same = np.array([0.9, NAN, 0.1, NAN]), truth(1, 1, 0, 0)
    assert protocol.accuracy_at(scores, same, 0.5) == 0.5
    assert protocol.best_threshold(scores, same) == pytest.approx(0.5)


def test_a_threshold_needs_a_score() -> None:
    with pytest.raises(ValueError, match="no pair has a score"):
        protocol.best_threshold(np.array([NAN]), truth(1))


def test_a_fold_is_judged_at_the_threshold_of_the_others() -> None:
    # Fold 1 parts at 0.5, fold 2 at 0.25.
    scores = np.array([0.4, 0.6, 0.2, 0.3])
    same = truth(0, 1, 0, 1)
    folds = np.array([1, 1, 2, 2])
    result = protocol.accuracy_over_folds(scores, same, folds)
    # At 0.25 fold 1 accepts both (1/2 right); at 0.5 fold 2 refuses both (1/2 right).
    assert result.accuracy == pytest.approx(0.5)
    assert result.standard_error == pytest.approx(0)


def test_the_standard_error_is_that_of_the_mean_over_folds() -> None:
    # Three folds alike and one turned round, which the others' threshold gets all wrong.
    scores = np.array([0.1, 0.9, 0.1, 0.9, 0.1, 0.9, 0.9, 0.1])
    same = truth(0, 1, 0, 1, 0, 1, 0, 1)
    result = protocol.accuracy_over_folds(scores, same, np.array([1, 1, 2, 2, 3, 3, 4, 4]))
    accuracies = np.array([1.0, 1.0, 1.0, 0.0])
    assert result.accuracy == pytest.approx(accuracies.mean())
    assert result.standard_error == pytest.approx(accuracies.std(ddof=1) / np.sqrt(4))


def test_one_fold_has_no_threshold_of_its_own() -> None:
    with pytest.raises(ValueError, match="two folds"):
        protocol.accuracy_over_folds(np.array([0.1, 0.9]), truth(0, 1), np.array([3, 3]))
    fixed = protocol.accuracy_at_fixed_threshold(np.array([0.1, 0.9, 0.8, 0.7]), truth(0, 1, 0, 1), 0.5)
    assert (fixed.accuracy, fixed.standard_error) == (0.75, pytest.approx(np.sqrt(0.75 * 0.25 / 4)))


def test_the_false_acceptance_rate_is_never_passed() -> None:
    random = np.random.default_rng(3)
    scores, same = random.normal(size=4000), random.random(4000) < 0.5
    threshold = protocol.threshold_at_far(scores, same, 1e-2)
    negatives = scores[~same]
    assert np.mean(negatives >= threshold) <= 1e-2
    lower = np.sort(negatives)[::-1][int(1e-2 * len(negatives))]
    assert np.mean(negatives >= lower) > 1e-2
    assert lower < threshold < lower + 1e-12


def test_tar_counts_ties_of_the_first_stranger_refused_as_refused() -> None:
    scores = np.array([0.9, 0.5, 0.4, *([0.5] * 2), *np.linspace(0, 0.3, 98)])
    same = truth(1, 1, 1, *([0] * 100))
    # One stranger of a hundred may pass, but two stand at 0.5, so the threshold is above it.
    assert protocol.tar_at_far(scores, same, 1e-2) == pytest.approx(1 / 3)
    assert protocol.tar_at_far(scores, same, 2e-2) == pytest.approx(1.0)


def test_three_hundred_strangers_at_one_percent_are_three() -> None:
    scores, same = np.append(np.arange(300) / 300, 296.5 / 300), truth(*([0] * 300), 1)
    assert protocol.tar_at_far(scores, same, 0.01) == 1.0
    scores[-1] = 295.9 / 300
    assert protocol.tar_at_far(scores, same, 0.01) == 0.0


def test_a_stranger_without_a_score_counts_as_accepted() -> None:
    scores = np.array([0.5, *([0.6] * 1), NAN, *([0.0] * 98)])
    same = truth(1, *([0] * 100))
    assert protocol.tar_at_far(scores, same, 1e-2) == 0.0
    assert protocol.tar_at_far(np.where(np.isnan(scores), 0.0, scores), same, 1e-2) == 1.0


def test_mean_class_accuracy_weighs_classes_alike() -> None:
    labels, predicted = np.array([0, 0, 0, 0, 7]), np.array([0, 0, 0, 1, 0])
    assert protocol.mean_class_accuracy(predicted, labels) == pytest.approx((0.75 + 0) / 2)
    assert protocol.mean_class_accuracy(np.full(5, -1), labels) == 0


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    confidences = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    correct = truth(1, 1, 1, 0, 1, 0)
    expected = (4 * abs(0.75 - 0.95) + 2 * abs(0.5 - 0.55)) / 6
    assert protocol.calibration_error(confidences, correct) == pytest.approx(expected)
    assert protocol.calibration_error(np.array([1.0, 1.0]), truth(1, 1)) == 0
