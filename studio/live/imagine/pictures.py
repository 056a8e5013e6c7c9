"""Pictures of a run: all cameras in one, with the way ahead drawn on the road in the front camera."""

from dataclasses import dataclass

from jaxtyping import UInt8

from studio.overlays import COLORS, display_rig, grid_of, mosaic, upscaled, with_path
from worldmodel.geometry import Array, Rig, Trajectory, relative

AHEAD_S = 4.0  # how far the way is drawn


@dataclass(frozen=True, eq=False, kw_only=True)
class Painter:
    """Draws frames of one rig at one size.

    Attributes:
        rig: The cameras at the size that is shown.
        front: Index of the camera that looks ahead.
        tile_px: Smaller pictures are enlarged to this width.
    """

    rig: Rig
    front: int
    tile_px: int

    @staticmethod
    def of(rig: Rig, tile_px: int = 320) -> "Painter":
        """For the cameras of a recording or of the model."""
        row = grid_of(rig)[0]
        return Painter(rig=display_rig(rig, tile_px), front=row[len(row) // 2], tile_px=tile_px)

    def frames(
        self,
        video: UInt8[Array, "n camera 3 h w"],
        title: str,
        at: Trajectory | None = None,
        way: Trajectory | None = None,
        color: str = COLORS["after"],
    ) -> UInt8[Array, "n 3 height width"]:
        """Mosaics with a ribbon.

        Args:
            video: Of the rig's cameras.
            title: Such as 'imagined'; on every picture, so that it stays with a film that is passed on.
            at: Where the car is in each frame, and when; None draws no ribbon.
            way: Where it goes, in the same frame and time.
            color: Of the ribbon.
        """
        tiles = upscaled(video, self.rig.width_px, self.rig.height_px)
        if at is not None and way is not None:
            tiles = tiles.copy()
            for tile, pose, time_s in zip(tiles, at.poses, at.times_s, strict=True):
                ahead = (way.times_s > time_s) & (way.times_s <= time_s + AHEAD_S + 1e-6)
                points = relative(pose, way.poses[ahead])[:, :2]
                tile[self.front] = with_path(tile[self.front], self.rig.cameras[self.front], points, color)
        return mosaic(tiles, self.rig, title=title, tile_width_px=self.tile_px)
