"""Recordings in and out."""
