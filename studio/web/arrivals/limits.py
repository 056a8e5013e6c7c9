"""How much a visitor may send at once, and keep."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a visitor may send at once, and keep.

    Attributes:
        upload_bytes: Of all files together, as sent.
        unpacked_bytes, ratio: Of a zip: size of its files together, and unpacked over packed size of one.
        files: How many.
        table_bytes, rows: Of a CSV, JSON or YAML file, and lines of a CSV.
        parquet_bytes: Of a Parquet table.
        pixels, frames, seconds: Of a video.
        clips: How many recordings.
        kept_bytes: Of all datasets that a visitor keeps.
        memory_bytes, work_s: Of the process that imports.
    """

    upload_bytes: int = 200_000_000
    unpacked_bytes: int = 400_000_000
    ratio: float = 100.0
    files: int = 400
    table_bytes: int = 8_000_000
    rows: int = 20_000
    parquet_bytes: int = 50_000_000
    pixels: int = 3840 * 2160
    frames: int = 20_000
    seconds: float = 300.0
    clips: int = 40
    kept_bytes: int = 300_000_000
    memory_bytes: int = 4_000_000_000
    work_s: float = 240.0
