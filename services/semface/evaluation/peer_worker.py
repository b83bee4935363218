"""Run in the environment of the peers: dlib's recognition network and MediaPipe's face mesh on pictures that come in.

It imports nothing of semface. On standard input come pictures, each as four bytes of length (big-endian) and the
encoded picture; for each, one line of JSON goes to standard output: what the peers found in it, how long they took.
"""

import io
import json
import os
import struct
import sys
import time
from typing import Any, Protocol

import dlib
import face_recognition_models
import mediapipe
import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_FACES = 8

Pixels = NDArray[np.uint8]
Found = dict[str, Any]


class Peer(Protocol):
    """What looks at a picture."""

    def look(self, picture: Pixels) -> Found:
        """Return what is found in ``picture`` uint8 (H, W, 3), ``faces`` being how many."""
        ...


class Dlib:
    """The package's own way: HOG detector, five points, a ResNet with 128 numbers."""

    def __init__(self) -> None:
        """Load the three models of the package."""
        self.detector = dlib.get_frontal_face_detector()
        self.points = dlib.shape_predictor(face_recognition_models.pose_predictor_five_point_model_location())
        self.network = dlib.face_recognition_model_v1(face_recognition_models.face_recognition_model_location())

    def look(self, picture: Pixels) -> Found:
        """Return the embedding of the most central face of ``picture`` uint8 (H, W, 3), and how many were found.

        Small faces are sought where no large one is; where there is none, the whole picture stands for it.
        """
        boxes = list(self.detector(picture, 0)) or list(self.detector(picture, 1))
        height, width = picture.shape[:2]
        embeddings = [self._embed(picture, box) for box in boxes or [dlib.rectangle(0, 0, width, height)]]
        off = [abs(box.center().x - width / 2) + abs(box.center().y - height / 2) for box in boxes] or [0]
        return {"embedding": embeddings[int(np.argmin(off))], "faces": len(boxes)}

    def _embed(self, picture: Pixels, box: Any) -> list[float]:
        return list(self.network.compute_face_descriptor(picture, self.points(picture, box)))


class FaceMesh:
    """MediaPipe's detector and its 468 landmarks."""

    def __init__(self) -> None:
        """Load the models of the package."""
        self.mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=MOST_FACES)

    def look(self, picture: Pixels) -> Found:
        """Return the 468 landmarks in pixels of the most central face of ``picture``, or None, and how many faces."""
        found = self.mesh.process(picture).multi_face_landmarks or []
        height, width = picture.shape[:2]
        faces = [[(point.x * width, point.y * height) for point in face.landmark] for face in found]
        off = [float(np.abs(np.mean(face, axis=0) - [width / 2, height / 2]).sum()) for face in faces]
        return {"landmarks": faces[int(np.argmin(off))] if faces else None, "faces": len(faces)}


def timed(peer: Peer, picture: Pixels) -> Found:
    """Return what ``peer`` finds in ``picture`` with the time by the clock and on the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    found = peer.look(picture)
    return {
        **found,
        "milliseconds": 1e3 * (time.perf_counter() - clock),
        "processor_milliseconds": 1e3 * (time.process_time() - processor),
    }


def main() -> None:
    """Answer until standard input ends."""
    # The libraries print notices; what goes to standard output is for the reader of the answers alone.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    peers: dict[str, Peer] = {"dlib": Dlib(), "mediapipe": FaceMesh()}
    wanted = sys.argv[1:] or list(peers)
    while header := sys.stdin.buffer.read(4):
        data = sys.stdin.buffer.read(struct.unpack(">I", header)[0])
        with Image.open(io.BytesIO(data)) as image:
            picture = np.asarray(image.convert("RGB"))
        answers.write(json.dumps({name: timed(peers[name], picture) for name in wanted}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
