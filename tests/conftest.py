"""Fixtures for all tests; what they are made with is in `makers.py`."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # two workers share two cores; set before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from makers import make_model, make_observation


@pytest.fixture(scope="session")
def tiny_model():
    """One random world model for all tests; read it, never change it."""
    return make_model()


@pytest.fixture
def observation():
    """One second of three cameras at 8 Hz, with motion and an instruction."""
    return make_observation()
