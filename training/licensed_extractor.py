"""Put a licence holder's own extraction network in place of ours: ``python -m training.licensed_extractor``.

The holder exports the network, a ResNet-50 with the read-out of Deep3DFaceReconstruction and WM3DR, as ONNX: one input,
float32 [N, 3, 224, 224], RGB from 0 to 1; one output, float32 [N, 257] = identity 80, expression 64, texture 80, angles
3 in radians, light 27, translation 3 in decimetres. Around it this writes what the service expects: uint8 crops in,
our 257 numbers out. It belongs to the basis of ``training.licensed_basis``. The real weights were never at hand: what
is tested is their form.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS
from semface.errors import Reason, SemfaceError
from semface.extraction.alignment import CROP_SIZE
from semface.morphable.camera import DISTANCE, FOCAL_LENGTH
from semface.morphable.illumination import CHANNELS
from training.datasets import REPOSITORY

MODEL: Final = "descriptor_extraction"
INPUT_SIZE: Final = 224
THEIR_FOCAL_LENGTH: Final = 1015.0 / INPUT_SIZE
"""Focal length of their camera in sides of the crop; it stands ten decimetres from the origin, where ours does."""
DECIMETRE: Final = 100.0
THEIR_STARTS: Final = {
    "shape": 0,
    "expression": 80,
    "texture": 144,
    "rotation": 224,
    "illumination": 227,
    "translation": 254,
}
"""Where each of our groups begins among their 257 numbers."""
THEIR_AMBIENT: Final = 0.8
"""Their light when all 27 numbers are zero, in units of their first harmonic."""
THEIR_BANDS: Final = np.sqrt(np.pi) * np.array([0.5, 1.0, np.sqrt(30.0) / 4.0])
OUR_BANDS: Final = np.sqrt([1.0, 3.0, 15.0])
"""Constants of the harmonics of each band: theirs are those of a Lambertian surface (Ramamoorthi, Hanrahan, 2001)."""
BAND_SIZES: Final = (1, 3, 5)
HARMONIC_SIGNS: Final = (1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0)
"""Harmonics that they turn round, relative to ours."""

CARD: Final = """# Descriptor extraction, of a licence holder

Weights of the holder of this file, under the holder's licence, behind the interface of `descriptor_extraction`; written
by `python -m training.licensed_extractor`. Its quality is always 1: the network says nothing about it.
"""


def mapping() -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Return order, factor and offset, each (257,): ours = theirs[order] · factor + offset."""
    order = np.empty(DESCRIPTOR_SIZE, np.int64)
    factor, offset = np.ones(DESCRIPTOR_SIZE, np.float32), np.zeros(DESCRIPTOR_SIZE, np.float32)
    for group, where in GROUPS.items():
        order[where] = THEIR_STARTS[group] + np.arange(where.stop - where.start)
    # A camera of another focal length sees the same from another distance.
    nearer = FOCAL_LENGTH / THEIR_FOCAL_LENGTH
    factor[GROUPS["translation"]] = DECIMETRE, DECIMETRE, DECIMETRE * nearer
    offset[GROUPS["translation"].stop - 1] = DISTANCE * (1.0 - nearer)
    bands = np.repeat(THEIR_BANDS / OUR_BANDS, BAND_SIZES)
    factor[GROUPS["illumination"]] = np.tile(bands * HARMONIC_SIGNS, CHANNELS)
    ambient = np.zeros(len(bands))
    ambient[0] = THEIR_AMBIENT * bands[0] - 1.0
    offset[GROUPS["illumination"]] = np.tile(ambient, CHANNELS)
    return order, factor, offset


def wrap(theirs: onnx.ModelProto) -> onnx.ModelProto:
    """Return their network behind our interface: ``crops`` uint8 [N, 112, 112, 3] to ``descriptors`` and ``quality``.

    Raises FIELD_INVALID for a network of other inputs or outputs than the form says.
    """
    wanted = [([3, INPUT_SIZE, INPUT_SIZE], theirs.graph.input), ([DESCRIPTOR_SIZE], theirs.graph.output)]
    for shape, ports in wanted:
        if len(ports) != 1 or _sizes(ports[0]) != [0, *shape]:
            told = " x ".join(map(str, ["N", *shape]))
            raise SemfaceError(Reason.FIELD_INVALID, f"the network has no single port of {told}, with N left open")
    versions = {"opset_imports": theirs.opset_import, "ir_version": theirs.ir_version}
    inner = compose.add_prefix(theirs, "licensed_")
    source, target = inner.graph.input[0].name, inner.graph.output[0].name
    before = helper.make_model(_before(), **versions)
    whole = compose.merge_models(before, inner, io_map=[("image", source)])
    whole = compose.merge_models(whole, helper.make_model(_after(), **versions), io_map=[(target, "theirs")])
    onnx.checker.check_model(whole, full_check=True)
    return whole


def _sizes(port: onnx.ValueInfoProto) -> list[int]:
    """Return the sizes of a tensor, 0 where one is left open."""
    return [axis.dim_value for axis in port.type.tensor_type.shape.dim]


def _before() -> onnx.GraphProto:
    """Return the part that makes their input of our crops."""
    crops = helper.make_tensor_value_info("crops", TensorProto.UINT8, ["batch", CROP_SIZE, CROP_SIZE, 3])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, INPUT_SIZE, INPUT_SIZE])
    zoom = INPUT_SIZE / CROP_SIZE
    constants = {"scales": np.array([1.0, 1.0, zoom, zoom], np.float32), "white": np.array(255.0, np.float32)}
    nodes = [
        helper.make_node("Cast", ["crops"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["numbers"], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node("Resize", ["channels_first", "", "scales"], ["larger"], mode="linear"),
        helper.make_node("Div", ["larger", "white"], ["image"]),
    ]
    return helper.make_graph(nodes, "before", [crops], [image], _initializers(constants))


def _after() -> onnx.GraphProto:
    """Return the part that makes our output of theirs."""
    theirs = helper.make_tensor_value_info("theirs", TensorProto.FLOAT, ["batch", DESCRIPTOR_SIZE])
    descriptors = helper.make_tensor_value_info("descriptors", TensorProto.FLOAT, ["batch", DESCRIPTOR_SIZE])
    quality = helper.make_tensor_value_info("quality", TensorProto.FLOAT, ["batch", 1])
    order, factor, offset = mapping()
    constants = {"order": order, "factor": factor, "offset": offset}
    constants |= {"first": np.zeros(1, np.int64), "nothing": np.float32(0.0), "best": np.float32(1.0)}
    nodes = [
        helper.make_node("Gather", ["theirs", "order"], ["ordered"], axis=1),
        helper.make_node("Mul", ["ordered", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["descriptors"]),
        helper.make_node("Gather", ["descriptors", "first"], ["column"], axis=1),
        helper.make_node("Mul", ["column", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "best"], ["quality"]),
    ]
    return helper.make_graph(nodes, "after", [theirs], [descriptors, quality], _initializers(constants))


def _initializers(constants: dict[str, NDArray]) -> list[TensorProto]:
    return [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()]


def write(theirs: Path, repository: Path) -> None:
    """Wrap the network at ``theirs`` and write it into the model ``repository``; raises FIELD_INVALID as ``wrap``."""
    try:
        network = onnx.load(theirs)
    except Exception as error:  # protobuf raises several kinds for a file that is no network
        raise SemfaceError(Reason.FIELD_INVALID, f"{theirs} is no ONNX file that can be read") from error
    folder = repository / MODEL
    (folder / "1").mkdir(parents=True, exist_ok=True)
    onnx.save(wrap(network), folder / "1" / "model.onnx")
    shutil.copy(REPOSITORY / "model_repository" / MODEL / "config.pbtxt", folder / "config.pbtxt")
    (folder / "card.md").write_text(CARD)


def main() -> None:
    """Read the holder's network and write it into a model repository of the holder's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, help="the exported network, ONNX")
    parser.add_argument(
        "--output", type=Path, required=True, help="model repository, a copy of ours; not for passing on"
    )
    arguments = parser.parse_args()
    try:
        write(arguments.weights, arguments.output)
    except SemfaceError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main()
