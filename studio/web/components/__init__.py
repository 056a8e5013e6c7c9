"""What Gradio lacks: a player of live frames, a view from above that can be edited, a pad, a picture to click in."""
