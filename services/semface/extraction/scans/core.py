"""From a scan to its eight attribute images, as their network sees them. Knows arrays and names, no transport."""

import asyncio

from semface.extraction.core import Extractor
from semface.extraction.scans.alignment import FaceAligner
from semface.extraction.scans.attribute_images import AttributeImages, attribute_images
from semface.extraction.scans.mesh import Scan, check_scan, joined, outward


class ScanReader:
    """Finds the face of a scan and draws its attribute images."""

    def __init__(self, extractor: Extractor) -> None:
        """Use ``extractor`` to find the face in pictures of the scan."""
        self._aligner = FaceAligner(extractor)

    async def attribute_images(self, scan: Scan) -> AttributeImages:
        """Return the attribute images of the one face in ``scan``, in any unit and any of the usual axes.

        Raises SCAN_TOO_LARGE, SCAN_UNDECODABLE, NOT_FINITE and LOW_QUALITY as ``check_scan``, NO_FACE where none is
        found, LOW_QUALITY where too little of it is there. Time and memory are bounded by the limits of the mesh.
        """
        prepared = await asyncio.to_thread(_prepared, scan)
        by = await self._aligner.align(prepared)
        return await asyncio.to_thread(attribute_images, prepared, by, self._aligner.template.nose_tip)


def _prepared(scan: Scan) -> Scan:
    """Return ``scan``, checked, with its seams closed and its triangles right side out."""
    check_scan(scan)
    return outward(joined(scan))
