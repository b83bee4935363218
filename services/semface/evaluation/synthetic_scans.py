"""Synthetic 3-D scans of the ICT face model in the sixteen expressions, with what a scanner does to a face.

Each person shows each expression; everything is drawn from the seed, the person and the expression, so that a scan is
the same whichever others are made. The people of training and test differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import GROUP_SIZES
from semface.errors import Reason, SemfaceError
from semface.evaluation.synthetic_faces import EYE_CENTRE, EYE_WHITE, MOUTH_INSIDE, IctModel, random_light, skin_places
from semface.extraction.scans.mesh import Scan
from semface.extraction.scans.surface import vertex_normals
from semface.meaning import SCAN_EXPRESSIONS, ScanExpressionName
from semface.morphable.camera import rotation_matrix
from semface.morphable.illumination import shading
from semface.morphable.model import MorphableModel

PEOPLE: Final = 251
TRAINING_PEOPLE: Final = 200
"""Of the 251 people the first so many are for training, the others for the test, as in the paper."""
SEED: Final = 0

STRENGTH: Final = (0.4, 1.0)
"""Of an expression; each side of the face has it times ``SYMMETRY``, the other in full."""
SYMMETRY: Final = (0.7, 1.0)
OTHER_UNITS: Final = 0.2
"""Part of the other units that are there too."""
OTHER_STRENGTH: Final = (0.0, 0.2)
DEPTH_NOISE: Final = 0.3
"""Standard deviation in millimetres, along the view."""
MOST_HOLES: Final = 3
HOLE_SIZE: Final = (5.0, 15.0)
"""Diameter in millimetres."""
POSE_LIMIT: Final = np.radians(15.0)
FILLED: Final = 0.5
"""Part of the scans whose eyes and mouth are surfaces; those of the others are holes, as in the model's own mesh."""

Units = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Expression:
    """Units of the model: of ``leading`` one choice is there in full, of each of ``accompanying`` up to its part."""

    leading: tuple[tuple[str, ...], ...]
    accompanying: Units = field(default_factory=dict)


# What FACS calls mouth stretch (AU 27) is the open jaw; the model's shape of that name is the lip stretcher (AU 20).
EXPRESSION_UNITS: Final[Mapping[ScanExpressionName, Expression]] = MappingProxyType(
    {
        "neutral": Expression(((),)),
        "smile": Expression((("mouthSmile",),), {"cheekRaiser": 0.6, "cheekSquint": 0.6}),
        "mouth_stretch": Expression((("jawOpen",), ("mouthStretch",), ("jawOpen", "mouthStretch"))),
        "anger": Expression((("browDown",),), {"noseSneer": 0.6, "mouthPress": 0.6, "eyeSquint": 0.6}),
        "jaw_left": Expression((("jawLeft",),)),
        "jaw_right": Expression((("jawRight",),)),
        "jaw_forward": Expression((("jawForward",),)),
        "mouth_left": Expression((("mouthLeft",),)),
        "mouth_right": Expression((("mouthRight",),)),
        "dimpler": Expression((("mouthDimple",),)),
        "lip_puckerer": Expression((("mouthPucker",),)),
        "lip_funneler": Expression((("mouthFunnel",),)),
        "sadness": Expression((("mouthFrown", "browInnerUp"),), {"mouthShrugLower": 0.6, "browDown": 0.4}),
        "lip_roll": Expression((("mouthRollLower", "mouthRollUpper"),)),
        "eye_closed": Expression((("eyeBlink",),)),
        "brow_raiser": Expression((("browInnerUp", "browOuterUp"),)),
    }
)
"""The model's shapes, of both sides where it has two, that show each expression."""


class ScanGenerator:
    """Draws scans in millimetres with colours at their vertices."""

    def __init__(self, ict: IctModel, model: MorphableModel) -> None:
        """Dress heads of ``ict`` in skins of ``model``. Raises FIELD_INVALID when ``ict`` lacks a unit."""
        self._ict, self._model = ict, model
        self._corners, self._weights = skin_places(ict, model)
        names = {unit for shown in EXPRESSION_UNITS.values() for choice in shown.leading for unit in choice}
        names |= {unit for shown in EXPRESSION_UNITS.values() for unit in shown.accompanying}
        self._sides = {name: self._units(name) for name in sorted(names)}

    def scan(self, person: int, expression: int, take: int = 0) -> Scan:
        """Return person number ``person`` in ``SCAN_EXPRESSIONS[expression]``; another ``take`` is drawn anew."""
        ict = self._ict
        of_person = np.random.default_rng((SEED, person))
        head = ict.mean + np.tensordot(of_person.standard_normal(len(ict.identity)), ict.identity, 1)
        albedo = self._albedo(of_person.standard_normal((1, GROUP_SIZES["texture"])).astype(np.float32))
        random = np.random.default_rng((SEED, person, expression, take))
        strengths = self._strengths(SCAN_EXPRESSIONS[expression], random)
        head = ict.fill(head + np.tensordot(strengths, ict.expression, 1))
        triangles = ict.filled_triangles if random.random() < FILLED else ict.triangles
        pose = rotation_matrix(random.uniform(-POSE_LIMIT, POSE_LIMIT, (1, 3)))[0]
        posed = head @ pose.T
        normals = vertex_normals(posed, ict.filled_triangles)
        colours = np.clip(albedo * shading(normals[None], random_light(random))[0], 0.0, 255.0)
        posed[:, 2] += random.normal(0.0, DEPTH_NOISE, len(posed))
        triangles = _with_holes(posed, normals, triangles, random)
        return Scan(posed.astype(np.float32), triangles, colours.astype(np.float32))

    def _albedo(self, texture: NDArray[np.float32]) -> NDArray[np.floating]:
        """Return the colours (V + openings, 3) of a person's skin, eyes and inside of the mouth."""
        albedo = self._model.albedo(texture)[0]
        skin = (albedo[self._corners] * self._weights[..., None]).sum(axis=1)
        for loop in self._ict.openings[1:]:
            skin[loop] = EYE_WHITE
        centres = [EYE_CENTRE if number else MOUTH_INSIDE for number in range(len(self._ict.openings))]
        return np.concatenate([skin, centres])

    def _strengths(self, expression: ScanExpressionName, random: np.random.Generator) -> NDArray[np.float64]:
        """Return the strength (units,) of each of the model's shapes."""
        shown = EXPRESSION_UNITS[expression]
        strength = random.uniform(*STRENGTH)
        leading = shown.leading[random.integers(len(shown.leading))]
        parts = dict.fromkeys(leading, 1.0)
        parts |= {name: random.uniform(0.0, most) for name, most in shown.accompanying.items()}
        strengths = random.uniform(*OTHER_STRENGTH, len(self._ict.expression))
        strengths[random.random(len(strengths)) >= OTHER_UNITS] = 0.0
        for name, share in parts.items():
            sides = self._sides[name]
            ratios = np.ones(len(sides))
            if len(sides) == 2:
                ratios[random.integers(2)] = random.uniform(*SYMMETRY)
            strengths[sides] = strength * share * ratios
        return strengths

    def _units(self, name: str) -> list[int]:
        """Return the numbers of the model's shapes of that name, one or two."""
        names = self._ict.expression_names
        sides = [number for number, full in enumerate(names) if full in (name, f"{name}_L", f"{name}_R")]
        if not sides:
            raise SemfaceError(Reason.FIELD_INVALID, f"the ICT face model lacks the expression {name}")
        return sides


def _with_holes(
    vertices: NDArray[np.floating],
    normals: NDArray[np.float32],
    triangles: NDArray[np.int32],
    random: np.random.Generator,
) -> NDArray[np.int32]:
    """Return ``triangles`` without those in some round holes where the surface faces the scanner."""
    facing = np.flatnonzero(normals[:, 2] > 0.3)
    for _ in range(random.integers(MOST_HOLES + 1)):
        middle = vertices[random.choice(facing)]
        inside = np.linalg.norm(vertices - middle, axis=1) < random.uniform(*HOLE_SIZE) / 2
        triangles = triangles[~inside[triangles].any(axis=1)]
    return triangles
