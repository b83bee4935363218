"""Make what turns δ into ARKit's named weights: products of the ICT face model's shapes with our directions.

    python -m training.arkit_blendshapes

To run again whenever ``head.npz`` is made anew. The ICT face model is MIT-licensed (University of Southern California);
its units are named as ARKit's, but for the brows' middle and the cheeks, which it has for each side, ``cheekRaiser``,
which ARKit has not, and ``tongueOut``, which it has not.
"""

import argparse
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.evaluation.synthetic_faces import IctModel, skin_places
from semface.morphable.blendshapes import ARKIT_NAMES, BLENDSHAPES_FILE, expression_hash
from semface.morphable.model import MorphableModel
from semface.morphable.similarity import move, similarity
from training import datasets

STILLNESS: Final = 0.02
"""Added to each shape's product with itself, as a share of the mean of all: what hardly moves the head stays 0."""

BOTH_SIDES: Final = ("browInnerUp", "cheekPuff")
SIDES: Final = {"_L": "Left", "_R": "Right"}


def shapes(ict: IctModel, model: MorphableModel) -> NDArray[np.float64]:
    """Return ARKit's shapes (52, V, 3) at the vertices of ``ict``, in the place and size of the head of ``model``."""
    placing = similarity(ict.mean[ict.landmarks68], model.mean_shape[model.landmarks68])
    rest = move(ict.mean, placing)
    found = np.zeros((len(ARKIT_NAMES), *rest.shape))
    for name, offsets in zip(ict.expression_names, ict.expression, strict=True):
        stem, side = (name[:-2], SIDES[name[-2:]]) if name[-2:] in SIDES else (name, "")
        target = stem if stem in BOTH_SIDES else stem + side
        # δ holds no gaze; lids that follow the eyes would take the weights of a blink.
        if target in ARKIT_NAMES and not target.startswith("eyeLook"):
            found[ARKIT_NAMES.index(target)] += move(ict.mean + offsets, placing) - rest
    return found


def directions(ict: IctModel, model: MorphableModel) -> NDArray[np.float64]:
    """Return our directions (64, V, 3) at the vertices of ``ict``: what the place of our skin next to each does."""
    corners, weights = skin_places(ict, model)
    return np.einsum("kvcd,vc->kvd", model.expression_basis[:, corners], weights)


def main(arguments: list[str] | None = None) -> None:
    """Make the products and tell how much of each of our directions ARKit's shapes can say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ict", type=Path, help="the ICT face model [ict_face.npz of the data sets]")
    parser.add_argument("--output", type=Path, default=BLENDSHAPES_FILE)
    options = parser.parse_args(arguments)
    ict = IctModel.load(options.ict or datasets.root() / "ict_face.npz")
    model = MorphableModel.load()
    named, ours = (values.reshape(len(values), -1) for values in (shapes(ict, model), directions(ict, model)))
    vertices = len(ict.mean)
    own, crossed = named @ named.T / vertices, ours @ named.T / vertices
    own += STILLNESS * np.diag(own).mean() * np.eye(len(own))
    np.savez_compressed(
        options.output,
        own=own.astype(np.float32),
        directions=crossed.astype(np.float32),
        names=np.array(ARKIT_NAMES),
        head_hash=expression_hash(model),
        source="ICT Face Model Light, University of Southern California, MIT licence",
    )
    told = np.einsum("kn,kn->k", crossed, np.linalg.solve(own, crossed.T).T) / ((ours**2).sum(axis=1) / vertices)
    print(f"share of the motion that named shapes can say: {told[:10].round(2)} …, mean {told.mean():.2f}")


if __name__ == "__main__":
    main()
