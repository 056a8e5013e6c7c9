"""Open the studio: `uv run app.py`."""

from studio.server import from_command_line

if __name__ == "__main__":
    from_command_line()
