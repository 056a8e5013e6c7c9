"""Futures while they are imagined, shown and kept."""
