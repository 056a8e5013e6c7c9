"""Fixtures for all tests; what they are made with is in `makers.py`."""

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
