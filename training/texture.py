"""Learn mean albedo and texture basis from registered photographs, their light taken out.

Of all spaces of 80 directions the chosen one keeps what tells people apart: the part of each albedo that the identity
teacher's embedding predicts weighs more when the space is chosen. Within it the directions are principal ones of the
albedos as they are, so that coefficients have unit variance on real faces.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semface.descriptors import GROUP_SIZES
from semface.morphable.illumination import shading
from semface.morphable.model import MorphableModel
from training.fitting import Fits
from training.modes import principal
from training.registered_faces import Faces
from training.registration import estimate_light, sample, seen_vertices

IDENTITY_WEIGHT: Final = 4.0
"""Weight of what the embedding predicts of an albedo, against the albedo itself."""
RIDGE: Final = 3.0

Array = NDArray[np.floating]


def predicted_by(embeddings: Array, offsets: Array) -> Array:
    """Return what ``embeddings`` (N, D) predict of ``offsets`` (N, V, 3), each face left out of its own."""
    centred = embeddings - embeddings.mean(axis=0)
    directions = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    kernel = directions @ directions.T
    hat = (kernel @ np.linalg.inv(kernel + RIDGE * np.eye(len(kernel)))).astype(np.float32)
    own = np.diag(hat)[:, None]
    flat = offsets.reshape(len(offsets), -1)
    return ((hat @ flat - own * flat) / (1.0 - own)).reshape(offsets.shape)


def texture_modes(offsets: Array, embeddings: Array, model: MorphableModel, count: int) -> Array:
    """Return ``count`` directions (count, V, 3) of albedo ``offsets`` (N, V, 3), RGB for one standard deviation."""
    region = np.flatnonzero(model.face_region)
    rows = np.concatenate([offsets, IDENTITY_WEIGHT * predicted_by(embeddings, offsets)])
    chosen = principal(rows, model.mirror, np.ones(3), count, region)
    flat = chosen[:, region].reshape(count, -1)
    share = np.linalg.lstsq(flat.T, offsets[:, region].reshape(len(offsets), -1).T, rcond=None)[0]
    within = np.tensordot(share.T, chosen, 1).astype(np.float32)
    return principal(within, model.mirror, np.ones(3), count, region)


def learn_texture(model: MorphableModel, faces: Faces, fits: Fits) -> tuple[Array, Array]:
    """Return mean albedo (V, 3) and texture basis (80, V, 3) from registered photographs, their light taken out."""
    shape, expression = np.split(fits.coefficients, [GROUP_SIZES["shape"]], axis=1)
    albedo = np.zeros((len(faces.names), *model.mean_shape.shape), np.float32)
    known = np.zeros(albedo.shape[:2], bool)
    mean = np.full(model.mean_shape.shape, 128.0)
    region = model.face_region.astype(float)
    for turn in range(3):
        for start in tqdm(range(0, len(faces.names), 64), desc=f"texture, round {turn + 1} of 3"):
            part = slice(start, start + 64)
            vertices = model.vertices(shape[part], expression[part])
            where = (fits.rotation[part], fits.translation[part])
            points, normals, seen = seen_vertices(model.normals(vertices), vertices, *where)
            colours = sample(faces.crops[part], points)
            # The first round knows no albedo yet: a photograph's own mean colour stands for it.
            start_albedo = colours.mean(axis=1, keepdims=True) if turn == 0 else mean
            light = estimate_light(colours, np.broadcast_to(start_albedo, colours.shape), normals, seen * region)
            albedo[part] = np.clip(colours / np.maximum(shading(normals, light), 0.3), 0.0, 255.0)
            known[part] = seen
        count = known.sum(axis=0)[:, None]
        total = (albedo * known[..., None]).sum(axis=0)
        total, count = total + total[model.mirror], count + count[model.mirror]
        skin = (total[model.face_region] / np.maximum(count[model.face_region], 1)).mean(axis=0)
        mean = (total + 20.0 * skin) / (count + 20.0)
    offsets = ((albedo - mean) * known[..., None]).astype(np.float32)
    return mean, texture_modes(offsets, faces.embeddings, model, GROUP_SIZES["texture"])
