"""What embeddings are to become: the identity teacher's, centred, along 512 principal directions, of length one.

Means and directions come from LFW people in no verification fold and from FER+, selection parts apart, so that they are
the same in every training and speak of nobody who is judged.
"""

from functools import cache as remember

import numpy as np
from numpy.typing import NDArray

from training import datasets

SIZE = 512


def identity_targets(dataset: str) -> NDArray[np.float32]:
    """Return the targets (N, 512) of all pictures of ``lfw`` or ``ferplus_train``, in the order of the cache."""
    names, raw = _teacher(dataset)
    if dataset == "lfw":
        centred = raw - raw[_without_fold(names)].mean(axis=0)
    else:
        held = {picture.name for picture in datasets.ferplus("train") if datasets.is_selection(picture.data)}
        # Each data set has its own mean: that a picture is small and grey is nobody's identity.
        centred = raw - raw[[name not in held for name in names]].mean(axis=0)
    reduced = centred @ _directions()
    return (reduced / np.linalg.norm(reduced, axis=1, keepdims=True)).astype(np.float32)


@remember
def _directions() -> NDArray[np.float32]:
    names, raw = _teacher("lfw")
    learned = raw[_without_fold(names)]
    return np.linalg.eigh(np.cov((learned - learned.mean(axis=0)).T))[1][:, ::-1][:, :SIZE]


def _teacher(dataset: str) -> tuple[list[str], NDArray[np.float32]]:
    path = datasets.cache() / "teachers" / f"{dataset}.npz"
    if not path.exists():
        raise FileNotFoundError(f"{path} is absent; run training.faces first")
    with np.load(path) as file:
        return [str(name) for name in file["names"]], file["embedding"]


def _without_fold(names: list[str]) -> NDArray[np.bool_]:
    """Tell of each picture (N,) whether its person is in no fold and not for selection."""
    in_folds = datasets.people_in_folds(frozenset(range(1, 9)))
    people = [datasets.person(name) for name in names]
    return np.array([who not in in_folds and not datasets.is_selection_person(who) for who in people])
