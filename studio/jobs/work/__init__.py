"""Doing units: one loaded model, clips read, futures streamed to files, planners asked."""
