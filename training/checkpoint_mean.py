"""The mean of two trainings of extraction that began alike: ``python -m training.checkpoint_mean A.pt B.pt MEAN.pt``.

Networks that grew from one start on different people can be averaged, weight by weight (Wortsman et al., 2022, model
soups): the mean of the two that leave out one half of the folds each has seen everybody, and is better than either.
"""

import argparse
from pathlib import Path

import torch


def mean_state(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the mean of two states of one network; raises ValueError where they are of different networks."""
    if {name: value.shape for name, value in first.items()} != {name: value.shape for name, value in second.items()}:
        raise ValueError("the two states are not of one network")
    return {name: (value + second[name]) / 2 for name, value in first.items()}


def main() -> None:
    """Write the mean as a check-point that ``training.extractor --start-from`` takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("first", "second", "output"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    first, second = torch.load(arguments.first), torch.load(arguments.second)
    torch.save({part: mean_state(first[part], second[part]) for part in ("network", "losses")}, arguments.output)


if __name__ == "__main__":
    main()
