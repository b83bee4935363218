"""The eight attribute images of an aligned scan: normals, depth, curvature and texture (AMDFN, section III.B.3).

Values are 0 wherever the scan has no surface. The scan is looked at along −z, without perspective.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.errors import Reason, SemfaceError
from semface.extraction.scans.frontal_view import interpolate
from semface.extraction.scans.mesh import MINIMUM_TRIANGLES, Array, Scan, joined, part
from semface.extraction.scans.surface import shape_index, vertex_normals
from semface.morphable.rasterizer import rasterize
from semface.morphable.similarity import Similarity
from semface.recognisers import ATTRIBUTE_IMAGES

CHANNELS: Final = (
    "normal_x", "normal_y", "normal_z", "depth", "shape_index", "texture_red", "texture_green", "texture_blue",
)  # fmt: skip
"""Normals are −1 to 1; depth is 1 at the mean head's nose tip, 0 at ``CROP_RADIUS`` behind it; the rest 0 to 1."""
IMAGE_SIZE: Final = ATTRIBUTE_IMAGES[-1]
WINDOW: Final = 168.0
"""Side of the images in millimetres of the mean head."""
CROP_RADIUS: Final = 110.0
"""Millimetres from the nose tip within which the face lies, with its mouth wide open (Mian et al., 2006)."""
BELOW_NOSE: Final = 16.0
"""Millimetres from the nose tip down to the images' middle."""
CROPPED_VERTICES: Final = 16_000
FINEST: Final = 1.4
"""A crop of more than ``CROPPED_VERTICES`` is made coarser, to cubes of so many millimetres: below a pixel's size."""
LEAST_COVERED: Final = 0.6
"""Part of the face's middle that the scan has to cover."""
MIDDLE: Final = (48.0, 60.0)
"""Half axes, in millimetres, of the ellipse around the nose tip that is the face's middle."""


@dataclass(frozen=True, slots=True)
class AttributeImages:
    """``images`` float32 (8, 112, 112) in the order of ``CHANNELS``; whether texture was there; the part covered."""

    images: NDArray[np.float32]
    textured: bool
    covered: float


def attribute_images(scan: Scan, by: Similarity, nose_tip: Array) -> AttributeImages:
    """Return the attribute images of ``scan`` brought to the mean head, whose nose tip (3,) is given, ``by``.

    Without texture its three images are 0. Raises LOW_QUALITY for a scan that has too few triangles there, or covers
    too little of the face.
    """
    face = cropped(scan, by, nose_tip)
    if len(face.triangles) < MINIMUM_TRIANGLES:
        raise SemfaceError(
            Reason.LOW_QUALITY,
            f"the scan's face has {len(face.triangles)} triangles; {MINIMUM_TRIANGLES} are needed at least",
            field="scan",
        )
    normals = vertex_normals(face.vertices, face.triangles)
    values = [normals, face.vertices[:, 2:] / np.float32(CROP_RADIUS) + 1]
    values.append(shape_index(face.vertices, face.triangles, normals)[:, None])
    if face.colours is not None:
        values.append(face.colours / np.float32(255))
    images = _drawn(face, np.concatenate(values, axis=1))
    seen = (images[:3] != 0).any(axis=0)
    covered = float(seen[_middle()].mean())
    if covered < LEAST_COVERED:
        raise SemfaceError(
            Reason.LOW_QUALITY,
            f"the scan covers {covered:.0%} of the face's middle; {LEAST_COVERED:.0%} are needed at least",
            field="scan",
        )
    return AttributeImages(images, face.colours is not None, covered)


def cropped(scan: Scan, by: Similarity, nose_tip: Array) -> Scan:
    """Return the part of ``scan`` within ``CROP_RADIUS`` of the nose tip, which becomes the origin, in millimetres."""
    matrix = (by.scale * by.rotation.T).astype(np.float32)
    # The scan's own origin may be far away: the shift is made in double precision, of one point only.
    origin = scan.vertices.mean(axis=0, dtype=np.float64)
    shift = (by.scale * by.rotation @ origin + by.shift - nose_tip).astype(np.float32)
    vertices = (scan.vertices - origin.astype(np.float32)) @ matrix + shift
    near = np.einsum("vc,vc->v", vertices, vertices) < CROP_RADIUS**2
    face = part(Scan(vertices, scan.triangles, scan.colours), near)
    return joined(face, FINEST) if len(face.vertices) > CROPPED_VERTICES else face


def _drawn(face: Scan, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``values`` (V, C), C ≤ 8, of the vertices as images (8, 112, 112)."""
    scale = IMAGE_SIZE / WINDOW
    pixels = (face.vertices[:, :2] + np.array([0.0, BELOW_NOSE], np.float32)) * np.array(
        [scale, -scale], np.float32
    ) + IMAGE_SIZE / 2
    try:
        fragments = rasterize(pixels, -face.vertices[:, 2], face.triangles, IMAGE_SIZE, IMAGE_SIZE)
    except SemfaceError:
        message = "the scan's face is of large triangles in many layers; clean the mesh first"
        raise SemfaceError(Reason.LOW_QUALITY, message, field="scan") from None
    seen = fragments.triangle >= 0
    images = np.zeros((len(CHANNELS), IMAGE_SIZE, IMAGE_SIZE), np.float32)
    images[: values.shape[1], seen] = interpolate(values, face, fragments, seen).T
    return images


def _middle() -> NDArray[np.bool_]:
    """Return which pixels (112, 112) lie in the middle of the face."""
    places = (np.arange(IMAGE_SIZE) + 0.5) * (WINDOW / IMAGE_SIZE) - WINDOW / 2
    across, down = MIDDLE
    return (places / across) ** 2 + ((places[:, None] + BELOW_NOSE) / down) ** 2 < 1.0
