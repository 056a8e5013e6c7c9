"""Scores of two sides, while they are computed."""
