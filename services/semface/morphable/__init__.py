"""The 3-D face model: its bases, pose, illumination, projection into the face square, and rendering."""

from semface.morphable.model import MorphableModel
from semface.morphable.rendering import overlay, render

__all__ = ["MorphableModel", "overlay", "render"]
