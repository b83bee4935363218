"""The extraction network: an aligned crop to the 257 descriptors (paper, equation 1: ω = F(I)).

A MobileNet (Howard et al., 2017) whose weights start from the identity teacher's, at half of its input area. One linear
read-out sees its pooled features, its spatial features, the places of landmarks (the mean of a softmax map for each,
integral regression of Sun et al., 2018), what a hidden layer makes of these, and the crop's colours at a coarse grid.
What it told is then corrected twice: the head is projected into the crop, and the features at its points, and how far
they lie from the landmarks' places, tell what to change (mesh-aligned features, Zhang et al., PyMAF, 2021).
"""

from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS
from semface.evaluation.identity_teacher import IDENTITY_MEAN_BGR
from semface.extraction.alignment import CROP_SIZE
from semface.morphable.camera import DISTANCE, FOCAL_LENGTH
from semface.morphable.model import MorphableModel
from training.model_points import NEAREST, ModelPoints, projected
from training.network_export import read_weights
from training.teacher_networks import folder

STAGES: Final = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Channels and stride of each depthwise separable block."""
INPUT_SIZE: Final = 160
"""Side to which the crop is enlarged: at the crop's own 112 the teacher's features no longer tell people apart."""
SPATIAL_AFTER: Final = 11
"""Blocks after which the spatial features are taken: the last at a sixteenth of the crop's side."""
SPATIAL_CHANNELS: Final = 32
SPATIAL_CELLS: Final = (INPUT_SIZE // 16) ** 2
SPATIAL_WIDTH: Final = 384
FINE_AFTER: Final = 5
"""Blocks after which landmarks are looked for: the last at an eighth of the crop's side."""
MAP_SIDE: Final = INPUT_SIZE // 8
MAP_CHANNELS: Final = 96
KEYPOINTS: Final = 68 + 128
"""The 68 landmarks, and some of the 468; ``training.extractor_losses`` tells which."""
PLACE_SCALE: Final = 8.0
"""Brings places, fractions of the square from its middle, near the size of the other features."""
HIDDEN_WIDTH: Final = 384
CORRECTED: Final = (*range(GROUPS["shape"].stop), *range(GROUPS["expression"].start, GROUPS["translation"].stop))
"""Descriptors that are corrected: all but the illumination, which is fitted to the pixels anyway."""
POINT_CHANNELS: Final = 12
CORRECTION_WIDTH: Final = 256
POINT_SCALE: Final = 0.1
"""Brings millimetres near the size of the other features."""
EDGES_AFTER: Final = (1, 3)
"""Blocks after which edges are looked up around the points: at half and a quarter of the enlarged crop's side."""
EDGE_CHANNELS: Final = 16
PATCH_SIDE: Final = 3
PATCH_STEP: Final = 0.018
"""Distance of a patch's places, in fractions of the square."""
PATCH_WIDTH: Final = 8
"""What is kept of the patch at each point."""
FEATURES: Final = ("stem", "blocks", "spatial", "place", "colours", "quality")
"""The parts that see the picture, and the quality that is told of them."""
COLOUR_CELL: Final = 8
"""Side in crop pixels of a cell whose mean colour the read-out sees: the convolutions were taught to overlook light."""
COLOUR_WIDTH: Final = 192
QUALITY_WIDTH: Final = 64


class Block(nn.Module):
    """A depthwise 3×3 and a pointwise convolution, each with a ReLU cut off at 6; batch norms are folded in."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        inner = nn.functional.relu6(self.depthwise(_padded(features, self.depthwise)), inplace=True)
        return nn.functional.relu6(self.pointwise(inner), inplace=True)


def _padded(features: Tensor, convolution: nn.Conv2d) -> Tensor:
    # An even side at stride 2 is padded after its end only, as in the framework that the first weights came from.
    before = 0 if convolution.stride[0] == 2 and features.shape[-1] % 2 == 0 else 1
    return nn.functional.pad(features, (before, 1, before, 1))


class Keypoints(nn.Module):
    """The places (N, KEYPOINTS, 2) of landmarks in square fractions, of features at an eighth and a sixteenth."""

    grid: Tensor

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(fine, MAP_CHANNELS, 1), nn.Conv2d(coarse, MAP_CHANNELS, 1)
        self.around = nn.Conv2d(MAP_CHANNELS, MAP_CHANNELS, 3, padding=1, groups=MAP_CHANNELS)
        self.maps = nn.Conv2d(MAP_CHANNELS, KEYPOINTS, 1)
        centres = (torch.arange(MAP_SIDE) + 0.5) / MAP_SIDE
        grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=2)
        self.register_buffer("grid", grid.view(-1, 2), persistent=False)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, fine, MAP_SIDE, MAP_SIDE) and (N, coarse, MAP_SIDE / 2, MAP_SIDE / 2) to the places.

        The features (N, MAP_CHANNELS, MAP_SIDE, MAP_SIDE) that they are told from are returned with them.
        """
        wide = nn.functional.interpolate(self.coarse(coarse), scale_factor=2.0, mode="nearest")
        features = nn.functional.relu(self.fine(fine) + wide)
        maps = self.maps(nn.functional.relu(self.around(features)))
        return torch.softmax(maps.flatten(2), dim=2) @ self.grid, features


class Corrector(nn.Module):
    """What to change of told descriptors, of what is seen where the head of them lies in the crop."""

    def __init__(self, model: MorphableModel, at_point: int) -> None:
        """See ``at_point`` features at each of the keypoints of ``model``; change nothing before it has learned."""
        super().__init__()
        self.points = ModelPoints.keypoints(model, KEYPOINTS)
        seen = KEYPOINTS * (at_point + 3) + len(CORRECTED)
        self.hidden = nn.Sequential(nn.Linear(seen, CORRECTION_WIDTH), nn.ReLU())
        self.change = nn.Linear(seen + CORRECTION_WIDTH, len(CORRECTED))
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def look(self, features: list[Tensor], places: Tensor) -> Tensor:
        """Return what is seen (N, KEYPOINTS × at_point) of ``features`` at ``places`` (N, KEYPOINTS, 2)."""
        raise NotImplementedError

    def forward(self, told: Tensor, descriptors: Tensor, features: list[Tensor], keypoints: Tensor) -> Tensor:
        """Return the change (N, CORRECTED) of ``told`` (N, 257), which are the ``descriptors`` (N, 257) in their units.

        Each of ``features`` is (N, channels, side, side); ``keypoints`` (N, KEYPOINTS, 2) are of ``Keypoints``.
        """
        points, rotation = self.points.seen(descriptors)
        places = projected(points)
        # How far each landmark lies from the head's, in millimetres before the camera and then in the head's own frame.
        depth = (DISTANCE - points[..., 2:]).clamp(min=NEAREST)
        away = (keypoints - places) * torch.tensor([1.0, -1.0]) * depth / FOCAL_LENGTH
        away = nn.functional.pad(away, (0, 1)) @ rotation
        seen = [self.look(features, places), (away * POINT_SCALE).flatten(1), told[:, CORRECTED]]
        joined = torch.cat(seen, dim=1)
        return self.change(torch.cat([joined, self.hidden(joined)], dim=1))


class Correction(Corrector):
    """The first correction: it looks at the features that landmarks are found by."""

    def __init__(self, model: MorphableModel) -> None:
        super().__init__(model, POINT_CHANNELS)
        self.at_point = nn.Conv2d(MAP_CHANNELS, POINT_CHANNELS, 1)

    def look(self, features: list[Tensor], places: Tensor) -> Tensor:
        """See ``Corrector.look``; the one of ``features`` is (N, MAP_CHANNELS, MAP_SIDE, MAP_SIDE)."""
        return _at(self.at_point(features[0]), places[:, None]).flatten(1)


class FineCorrection(Corrector):
    """The second: it looks at edges, in a small patch around where each point lies now.

    Each point reads its patch in its own way, as in supervised descent (Xiong and De la Torre, 2013).
    """

    offsets: Tensor

    def __init__(self, model: MorphableModel) -> None:
        super().__init__(model, PATCH_WIDTH)
        self.edges = nn.ModuleList(nn.Conv2d(STAGES[block - 1][0], EDGE_CHANNELS, 1) for block in EDGES_AFTER)
        steps = (torch.arange(PATCH_SIDE) - (PATCH_SIDE - 1) / 2.0) * PATCH_STEP
        offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=2).view(1, 1, -1, 2)
        self.register_buffer("offsets", offsets, persistent=False)
        in_patch = len(EDGES_AFTER) * EDGE_CHANNELS * PATCH_SIDE**2
        self.in_patch = nn.Parameter(torch.randn(KEYPOINTS, in_patch, PATCH_WIDTH) / in_patch**0.5)
        self.in_patch_bias = nn.Parameter(torch.zeros(KEYPOINTS, 1, PATCH_WIDTH))

    def look(self, features: list[Tensor], places: Tensor) -> Tensor:
        """See ``Corrector.look``; ``features`` are those after ``EDGES_AFTER``."""
        around = places[:, :, None] + self.offsets
        found = [_at(layer(edges), around) for layer, edges in zip(self.edges, features, strict=True)]
        patches = torch.cat(found, dim=1).permute(2, 0, 1, 3).flatten(2)
        return nn.functional.relu(patches @ self.in_patch + self.in_patch_bias).transpose(0, 1).flatten(1)


def _at(features: Tensor, places: Tensor) -> Tensor:
    """Return ``features`` (N, C, H, W) at ``places`` (N, A, B, 2) in square fractions, as (N, C, A, B)."""
    return nn.functional.grid_sample(features, 2.0 * places - 1.0, align_corners=False)


class DescriptorExtractor(nn.Module):
    """Crops, RGB from 0 to 255, to descriptors (N, 257) in their own units, and quality (N, 1)."""

    centre: Tensor
    scale: Tensor
    pixel_mean: Tensor

    def __init__(self, model: MorphableModel) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2)
        widths = [32, *(outputs for outputs, _ in STAGES)]
        self.blocks = nn.ModuleList(
            Block(a, b, stride) for (a, b), (_, stride) in zip(pairwise(widths), STAGES, strict=True)
        )
        self.spatial = nn.Conv2d(STAGES[SPATIAL_AFTER - 1][0], SPATIAL_CHANNELS, 1)
        self.place = nn.Linear(SPATIAL_CHANNELS * SPATIAL_CELLS, SPATIAL_WIDTH)
        self.colours = nn.Sequential(nn.Linear(3 * (CROP_SIZE // COLOUR_CELL) ** 2, COLOUR_WIDTH), nn.ReLU())
        self.keypoints = Keypoints(STAGES[FINE_AFTER - 1][0], STAGES[SPATIAL_AFTER - 1][0])
        seen = widths[-1] + SPATIAL_WIDTH + 2 * KEYPOINTS
        self.hidden = nn.Sequential(nn.Linear(seen, HIDDEN_WIDTH), nn.ReLU())
        self.correction = Correction(model)
        self.fine_correction = FineCorrection(model)
        self.readout = nn.Linear(seen + HIDDEN_WIDTH + COLOUR_WIDTH, DESCRIPTOR_SIZE)
        self.quality = nn.Sequential(
            nn.Linear(widths[-1] + SPATIAL_WIDTH, QUALITY_WIDTH), nn.ReLU(), nn.Linear(QUALITY_WIDTH, 1)
        )
        nn.init.normal_(self.readout.weight, std=0.003)
        nn.init.zeros_(self.readout.bias)
        self.register_buffer("pixel_mean", torch.tensor(IDENTITY_MEAN_BGR[::-1].copy()).view(1, 3, 1, 1))
        self.register_buffer("centre", torch.zeros(DESCRIPTOR_SIZE))
        self.register_buffer("scale", torch.ones(DESCRIPTOR_SIZE))

    def read(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return descriptors (N, 257), quality (N, 1) and keypoints (N, KEYPOINTS, 2) in square fractions.

        ``pixels`` are planar (N, 3, 112, 112), RGB from 0 to 255.
        """
        centred = pixels - self.pixel_mean
        features = nn.functional.interpolate(centred, size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear")
        features = features.contiguous(memory_format=torch.channels_last)
        features = nn.functional.relu6(self.stem(_padded(features, self.stem)), inplace=True)
        fine = coarse = features
        edges = []
        for index, block in enumerate(self.blocks, start=1):
            features = block(features)
            fine = features if index == FINE_AFTER else fine
            edges += [features] if index in EDGES_AFTER else []
            coarse = features if index == SPATIAL_AFTER else coarse
        spatial = nn.functional.relu(self.spatial(coarse))
        # Places need more digits than half precision has, in which the convolutions may be run.
        with torch.autocast(pixels.device.type, enabled=False):
            keypoints, around = self.keypoints(fine.float(), coarse.float())
            told, quality = self._tell(centred, spatial.float(), features.float(), keypoints)
            # Where the features are looked up is no way to make them better.
            for correct, seen in ((self.correction, [around]), (self.fine_correction, edges)):
                descriptors = (told * self.scale + self.centre).detach()
                change = correct(told.detach(), descriptors, [features.float() for features in seen], keypoints)
                told = told.index_add(1, torch.tensor(CORRECTED), change)
            return told * self.scale + self.centre, quality, keypoints

    def _tell(self, centred: Tensor, spatial: Tensor, last: Tensor, keypoints: Tensor) -> tuple[Tensor, Tensor]:
        """Return descriptors (N, 257) in units of ``scale`` around ``centre``, and quality (N, 1)."""
        where = nn.functional.relu(self.place(spatial.flatten(1)))
        pooled = torch.cat([last.mean(dim=(2, 3)), where], dim=1)
        seen = torch.cat([pooled, ((keypoints - 0.5) * PLACE_SCALE).flatten(1)], dim=1)
        colours = self.colours(nn.functional.avg_pool2d(centred / 128.0, COLOUR_CELL).flatten(1))
        told = self.readout(torch.cat([seen, self.hidden(seen), colours], dim=1))
        # The descriptors must not become worse for the sake of telling how good they are.
        quality = torch.sigmoid(self.quality(pooled.detach()))
        return told, quality

    def start_from_teacher(self) -> None:
        """Load the convolutions of the identity teacher ``faceres.onnx``."""
        graph = onnx.load(folder() / "faceres.onnx").graph
        weights = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        found: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        for node in graph.node:
            constants = [weights[name] for name in node.input if name in weights]
            if node.op_type == "Conv":
                bias = constants[1] if len(constants) > 1 else np.zeros(len(constants[0]), np.float32)
                found.append((constants[0], bias))
            # The depthwise batch norms are left unfolded in the file.
            elif node.op_type == "Mul":
                found[-1] = (found[-1][0] * constants[0].reshape(-1, 1, 1, 1), found[-1][1] * constants[0].ravel())
            elif node.op_type == "Add":
                found[-1] = (found[-1][0], found[-1][1] + constants[0].ravel())
        targets = [self.stem, *(c for block in self.blocks for c in (block.depthwise, block.pointwise))]
        with torch.no_grad():
            for target, (weight, bias) in zip(targets, found, strict=True):
                target.weight.copy_(torch.tensor(weight))
                target.bias.copy_(torch.tensor(bias))
            # The file takes BGR, we take RGB.
            self.stem.weight.copy_(self.stem.weight.flip(1))

    def take_features(self, exported: Path) -> None:
        """Load all that stands before landmarks and read-out from an ``exported`` network of the same form (ONNX)."""
        self._take(exported, [name for name in self.state_dict() if name.startswith(FEATURES)])

    def take_all(self, exported: Path) -> None:
        """Load all that an ``exported`` network (ONNX) has of this one; where it has no correction, none is made."""
        self._take(exported, [name for name in self.state_dict() if name != "pixel_mean"])

    def _take(self, exported: Path, wanted: list[str]) -> None:
        found = read_weights(exported)
        known = {name: torch.tensor(found[f"network.{name}"]) for name in wanted if f"network.{name}" in found}
        self.load_state_dict(known, strict=False)

    def set_units(self, means: dict[str, NDArray[np.float32]], deviations: dict[str, NDArray[np.float32]]) -> None:
        """Set the centre and the scale of the groups named, each (size,), in the descriptors' own units."""
        for group, where in GROUPS.items():
            if group in means:
                self.centre[where] = torch.tensor(means[group])
                self.scale[where] = torch.tensor(deviations[group])
