"""A small simulated world with a true answer to "what if"."""
