"""Open the studio: `uv run app.py`."""
