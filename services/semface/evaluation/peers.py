"""What a user would pick instead, side by side: dlib's recognition network and MediaPipe's face mesh.

The peers run in an environment of their own, in a process that answers picture by picture (``peer_worker``). All see
the same pictures on the same machine in the same run.
"""

import asyncio
import io
import json
import os
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semface.errors import Reason, SemfaceError
from semface.evaluation.extract_bench import benchmark_picture, measure_extraction, picture_with_second_face
from semface.evaluation.geometry import landmark_points
from semface.evaluation.geometry_measures import OUTER_EYES_468, normalised_mean_error
from semface.evaluation.pictures import PictureArchive, Progress, view_face
from semface.evaluation.protocol import accuracy_over_folds
from semface.evaluation.serving_path import RunOptions, ServingPath
from semface.evaluation.verification import Pairs
from semface.extraction.core import Extractor
from semface.extraction.detection import FaceDetector
from semface.morphable.model import MorphableModel

WORKER: Final = Path(__file__).with_name("peer_worker.py")
PEERS: Final = ("dlib", "mediapipe")
TIMES: Final = ("milliseconds", "processor_milliseconds")
WARM_UP: Final = 3
LANDMARK_PICTURES: Final = 200
"""Pictures of the pairs on which landmarks are compared."""

Answer = dict[str, Any]
Figures = dict[str, float | int | None]


@dataclass(frozen=True, slots=True)
class PairedPictures:
    """The pictures and pairs on which accuracies are compared."""

    archive: PictureArchive
    pairs: Pairs


class PeerProcess:
    """The peers, answering in their own environment."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        """Speak to ``process``, a running ``peer_worker``."""
        self._process = process

    @staticmethod
    @contextmanager
    def started(environment: Path, names: Sequence[str] = PEERS) -> "Iterator[PeerProcess]":
        """Run the peers ``names`` with the Python of ``environment``; raises MODEL_UNKNOWN when it is not there."""
        python = environment / "bin" / "python"
        if not python.exists():
            message = f"the peers are not installed in {environment}; run `make peers`"
            raise SemfaceError(Reason.MODEL_UNKNOWN, message)
        # One thread each, as our networks have, and none of their notices.
        quiet = {**os.environ, "OMP_NUM_THREADS": "1", "GLOG_minloglevel": "3", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [str(python), str(WORKER), *names]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=quiet
        ) as process:
            try:
                yield PeerProcess(process)
            finally:
                process.kill()

    def look(self, picture: bytes) -> dict[str, Answer]:
        """Return what each peer finds in the encoded ``picture``; raises BACKEND_AWAY when they have stopped."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(struct.pack(">I", len(picture)) + picture)
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except OSError:
            answer = b""
        if not answer:
            raise SemfaceError(Reason.BACKEND_AWAY, "the peers stopped; make their environment anew with `make peers`")
        found: dict[str, Answer] = json.loads(answer)
        return found


async def compare_times(
    path: ServingPath, peers: PeerProcess, portrait: Image.Image, rounds: int
) -> dict[str, Figures]:
    """Return, by system, milliseconds of a 640 × 480 photograph with one face and what a second face adds (medians)."""
    ours = await measure_extraction(path.engine, path.repository, portrait, rounds=rounds, batch=1)
    figures: dict[str, Figures] = {
        "semface": {
            "photograph_ms": ours.extract_p50_ms,
            "photograph_processor_ms": ours.extract_processor_ms,
            "more_face_ms": ours.more_face_ms,
        }
    }
    one = benchmark_picture(portrait)
    two = Image.fromarray(await picture_with_second_face(FaceDetector(path.engine), one))
    single = await asyncio.to_thread(_timed, peers, one, rounds)
    double = await asyncio.to_thread(_timed, peers, two, rounds)
    for name in PEERS:
        both_found = single[name]["faces"] == 1 and double[name]["faces"] == 2
        figures[name] = {
            "photograph_ms": single[name]["milliseconds"],
            "photograph_processor_ms": single[name]["processor_milliseconds"],
            "more_face_ms": double[name]["milliseconds"] - single[name]["milliseconds"] if both_found else None,
        }
    return figures


def _timed(peers: PeerProcess, image: Image.Image, rounds: int) -> dict[str, Answer]:
    """Return the last answer on ``image``, its times being the medians of ``rounds``."""
    file = io.BytesIO()
    image.save(file, "PNG")
    answers = [peers.look(file.getvalue()) for _ in range(WARM_UP + rounds)][WARM_UP:]
    return {
        name: answers[-1][name] | {key: float(np.median([a[name][key] for a in answers])) for key in TIMES}
        for name in PEERS
    }


async def compare_accuracies(
    path: ServingPath, peers: PeerProcess, pictures: PairedPictures, progress: Progress
) -> dict[str, Figures]:
    """Return, by system, the verification accuracy on the pairs, and how far MediaPipe's landmarks lie from ours.

    Each system finds the face itself. The pairs need at least two folds; raises FIELD_INVALID otherwise.
    """
    archive, pairs = pictures.archive, pictures.pairs
    if len(np.unique(pairs.folds)) < 2:
        raise SemfaceError(Reason.FIELD_INVALID, "the pairs are of one fold; thresholds are chosen on the others")
    archive.require(pairs.stems)
    with TemporaryDirectory() as folder:
        described = Path(folder) / "descriptors.npz"
        uncoded = await path.verification(archive, pairs, RunOptions(quality="none", cache=described), progress)
        coded = await path.verification(archive, pairs, RunOptions(cache=described), lambda done: None)
    answers = await asyncio.to_thread(_answers, peers, archive, pairs.stems, progress)
    distances = await _landmark_distances(path, archive, answers, pairs.stems[:LANDMARK_PICTURES])
    return {
        "semface": {
            "accuracy": uncoded.accuracy,
            "accuracy_coded": coded.accuracy,
            "bits_mean": coded.bits_mean,
            "faces_not_found": uncoded.fallback,
        },
        "dlib": {
            "accuracy": accuracy_over_folds(_dlib_scores(answers, pairs), pairs.same, pairs.folds).accuracy,
            "faces_not_found": _not_found(answers, "dlib"),
        },
        "mediapipe": {
            "landmark_distance": float(np.mean(distances)) if distances else None,
            "faces_not_found": _not_found(answers, "mediapipe"),
        },
    }


def _answers(
    peers: PeerProcess, archive: PictureArchive, stems: Sequence[str], progress: Progress
) -> dict[str, dict[str, Answer]]:
    answers = {}
    for stem in stems:
        data = archive.read(stem) if archive.pixels(stem) is not None else None
        if data is not None:
            answers[stem] = peers.look(data)
        progress(1)
    return answers


def _not_found(answers: dict[str, dict[str, Answer]], name: str) -> int:
    return sum(answer[name]["faces"] == 0 for answer in answers.values())


def _dlib_scores(answers: dict[str, dict[str, Answer]], pairs: Pairs) -> NDArray[np.float64]:
    """Return the negative distance of each pair's embeddings; NaN where a picture cannot be decoded."""
    embeddings = {stem: np.array(answer["dlib"]["embedding"]) for stem, answer in answers.items()}
    nothing = np.full(128, np.nan)
    return np.array(
        [
            -np.linalg.norm(embeddings.get(first, nothing) - embeddings.get(second, nothing))
            for first, second in zip(pairs.first, pairs.second, strict=True)
        ]
    )


async def _landmark_distances(
    path: ServingPath, archive: PictureArchive, answers: dict[str, dict[str, Answer]], stems: Sequence[str]
) -> list[float]:
    """Return the mean distance of our 468 landmarks from MediaPipe's, over the outer eye corners, in each picture.

    Pictures in which either system finds no face are left out.
    """
    model = MorphableModel.shipped()
    detector, extractor = FaceDetector(path.engine), Extractor(path.engine)
    distances = []
    for stem in stems:
        picture = archive.pixels(stem)
        found = answers[stem]["mediapipe"]["landmarks"] if stem in answers else None
        if picture is None or found is None:
            continue
        view = await view_face(detector, picture)
        if view.eyes is not None:
            (row,) = await extractor.describe([view.crop])
            points = landmark_points(model, row, view.square, dense=True)
            distances.append(normalised_mean_error(points, np.array(found), OUTER_EYES_468))
    return distances
