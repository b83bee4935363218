"""The media types in which a face travels or is drawn, and how a photograph begins."""

from types import MappingProxyType
from typing import Final

BITSTREAM_TYPE: Final = "application/vnd.semface.bitstream"

LINES_TYPE: Final = "application/x-ndjson"
"""One JSON object a line: how many subjects are imported and exported."""

GLB_TYPE: Final = "model/gltf-binary"

SCAN_TYPES: Final = (GLB_TYPE, "model/gltf+json", "model/obj", "model/ply")
"""The media types of the 3-D scans that are taken; PLY has none that is registered."""

PHOTOGRAPH_SIGNATURES: Final = MappingProxyType(
    {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"RIFF": "image/webp"}
)
"""How photographs begin, as a bitstream never does, and the media type of each."""

PHOTOGRAPH_TYPES: Final = tuple(PHOTOGRAPH_SIGNATURES.values())
"""The media types of the photographs that are taken."""
