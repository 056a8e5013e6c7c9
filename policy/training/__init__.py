"""Training of planners: examples from stores, losses, and the run."""
