"""The paper's own figures (Tables I and II), on data and with recognisers that are not those used here."""

from typing import Final

PAPER_DATA: Final = {
    "verification": "CASIA-WebFace to LFW, ten folds, FaceNet on crops of 160 × 160, VTM 12.0",
    "expression": "AffectNet-8, DAN on crops of 224 × 224, VTM 12.0",
}
"""What each of the paper's figures was measured on."""

PAPER_FIGURES: Final[dict[str, tuple[tuple[str, float, float], ...]]] = {
    "verification": (
        ("paper, proposed", 1409.67, 0.9035),
        ("paper, VVC QP 47", 1940.47, 0.8938),
        ("paper, VVC QP 49", 1653.1, 0.8516),
        ("paper, VVC QP 51", 1426.12, 0.7970),
    ),
    "expression": (
        ("paper, proposed", 1450.4, 0.4749),
        ("paper, VVC QP 49", 2117.0, 0.4903),
        ("paper, VVC QP 51", 1782.7, 0.4491),
        ("paper, VVC QP 53", 1519.4, 0.3860),
    ),
}
"""By task: system, bits, accuracy (0 to 1)."""
