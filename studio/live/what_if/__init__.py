"""One change, both sides, and what it does to plans."""
