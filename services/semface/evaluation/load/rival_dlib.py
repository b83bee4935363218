"""Run in the environment of the peers: dlib's recognition network behind plain FastAPI, as its users write it.

`uvicorn rival_dlib:app`. It imports nothing of semface.
"""

import io
from typing import Any

import dlib
import face_recognition_models
import numpy as np
from fastapi import FastAPI, UploadFile
from PIL import Image

app = FastAPI()
detector = dlib.get_frontal_face_detector()
points = dlib.shape_predictor(face_recognition_models.pose_predictor_five_point_model_location())
network = dlib.face_recognition_model_v1(face_recognition_models.face_recognition_model_location())


@app.post("/faces")
async def faces(file: UploadFile) -> list[dict[str, Any]]:
    """Find the largest face of a photograph and answer its 128 numbers."""
    picture = np.array(Image.open(io.BytesIO(await file.read())).convert("RGB"))
    return [
        {
            "box": [box.left(), box.top(), box.right(), box.bottom()],
            "embedding": list(network.compute_face_descriptor(picture, points(picture, box))),
        }
        for box in sorted(detector(picture, 0), key=lambda box: box.area())[-1:]
    ]
