"""Driving a batch: works handed out, failures tried again, signals heard, progress told."""
