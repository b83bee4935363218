"""A scan seen from one side, as a picture in which a face can be found and with the depth to carry points back."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.extraction.scans.mesh import Array, Scan, joined
from semface.extraction.scans.surface import vertex_normals
from semface.morphable.rasterizer import Fragments, rasterize

VIEW_SIZE: Final = 192
"""Side of the picture, in pixels: a face that fills a sixth of it is found."""
FILLED: Final = 0.9
"""Part of the picture's side that the scan's larger extent takes."""
DENSE: Final = 60_000
"""Triangles from which a scan is made coarser for the view, whose pixels they would not fill."""
CELLS: Final = 160
"""Cubes along the largest extent of such a scan."""
SKIN: Final = (205.0, 165.0, 145.0)
"""Colour of a scan without texture, RGB."""
AMBIENT: Final = 0.25
BACKGROUND: Final = 90
NEAR: Final = 3
"""Pixels from a point in which a surface is sought, where the point itself falls into a hole."""


@dataclass(frozen=True, slots=True)
class FrontalView:
    """What is seen along −z of the frame that ``axes`` (3, 3), its rows, span in the scan's own coordinates."""

    picture: NDArray[np.uint8]
    """(S, S, 3) RGB."""
    depth: NDArray[np.float32]
    """(S, S) z in the frame, NaN where nothing is seen."""
    axes: Array
    centre: Array
    """(2,) x and y in the frame of the picture's middle."""
    scale: float
    """Pixels for one unit of the scan."""

    def lift(self, points: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Return where ``points`` (K, 2), in pixels, lie on the scan (K, 3), and which of them lie on it (K,)."""
        places = np.full((len(points), 3), np.nan)
        for row, (u, v) in enumerate(points):
            z = self._depth_near(u, v)
            x, y = np.array([u - self.picture.shape[1] / 2, self.picture.shape[0] / 2 - v]) / self.scale + self.centre
            places[row] = x, y, z
        return places @ self.axes, np.isfinite(places).all(axis=1)

    def _depth_near(self, u: float, v: float) -> float:
        """Return the depth at a pixel, or the mean over the nearest pixels that show a surface; NaN far from any."""
        for reach in range(1, NEAR + 1):
            rows = slice(max(int(v) - reach, 0), max(int(v) + reach + 1, 0))
            columns = slice(max(int(u) - reach, 0), max(int(u) + reach + 1, 0))
            around = self.depth[rows, columns]
            seen = around[np.isfinite(around)]
            if seen.size:
                return float(np.median(seen))
        return float("nan")


def coarse(scan: Scan) -> Scan:
    """Return ``scan`` with no more triangles than a view's pixels can show, give or take a few."""
    if len(scan.triangles) <= DENSE:
        return scan
    return joined(scan, float(np.ptp(scan.vertices, axis=0).max()) / CELLS)


def view(scan: Scan, axes: Array) -> FrontalView:
    """Return ``scan`` as seen against the third row of ``axes`` (3, 3), whose first points right, whose second up."""
    turned = scan.vertices.astype(np.float64) @ axes.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    centre, extent = (low[:2] + high[:2]) / 2, float(max((high - low)[:2].max(), 1e-12))
    scale = FILLED * VIEW_SIZE / extent
    pixels = (turned[:, :2] - centre) * [scale, -scale] + VIEW_SIZE / 2
    fragments = rasterize(pixels, high[2] - turned[:, 2], scan.triangles, VIEW_SIZE, VIEW_SIZE)
    picture = np.full((VIEW_SIZE, VIEW_SIZE, 3), BACKGROUND, np.uint8)
    depth = np.full((VIEW_SIZE, VIEW_SIZE), np.nan, np.float32)
    seen = fragments.triangle >= 0
    picture[seen] = interpolate(_colours(scan, axes), scan, fragments, seen).round()
    depth[seen] = interpolate(turned[:, 2:], scan, fragments, seen)[:, 0]
    return FrontalView(picture, depth, axes, centre, scale)


def interpolate(values: Array, scan: Scan, fragments: Fragments, seen: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Return ``values`` (V, C), one row for each vertex, at the pixels ``seen`` (S, S), as rows (K, C)."""
    corners = scan.triangles[fragments.triangle[seen]]
    weights = fragments.weights[seen]
    first, second, third = (values[corners[:, corner]] * weights[:, corner, None] for corner in range(3))
    return first + second + third


def _colours(scan: Scan, axes: Array) -> Array:
    """Return the colours (V, 3) of the scan, or skin lit from the front for one without texture."""
    if scan.colours is not None:
        return np.clip(scan.colours, 0.0, 255.0)
    facing = np.clip(vertex_normals(scan.vertices, scan.triangles) @ axes[2], 0.0, 1.0)
    return np.array(SKIN) * (AMBIENT + (1.0 - AMBIENT) * facing)[:, None]
