"""Every backend gives the same answers as the formula, and says plainly where it cannot run."""

import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from makers import make_network
from test_network import normal, training_layout
from torch.testing import assert_close

from worldmodel.attention_backends import BACKENDS, find_backend
from worldmodel.errors import BadRequest, UnknownName

CPU = torch.device("cpu")
UNCOMPILED = "ignore:flex_attention called without torch.compile"


def formula(q, k, v, mask):
    """softmax(q k / sqrt(d)) v, written out."""
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ v


def memory_efficient_attention(q, k, v, attn_bias=None):
    """What xformers computes, in its order of axes, [B, N, H, D]; it wants the rows of a bias aligned."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if attn_bias is not None:
        assert attn_bias.stride(-2) % 8 == 0
        assert attn_bias.shape == scores.shape
        scores = scores + attn_bias
    return (scores.softmax(-1) @ v).transpose(1, 2)


@pytest.fixture
def xformers(monkeypatch):
    """A stand-in for the package, with its interface."""
    package, ops = ModuleType("xformers"), ModuleType("xformers.ops")
    ops.memory_efficient_attention = memory_efficient_attention
    package.ops = ops
    monkeypatch.setitem(sys.modules, "xformers", package)
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)


def masks(batch):
    random = torch.rand(batch, 1, 5, 11, generator=torch.Generator().manual_seed(3)) < 0.6
    random[..., 0] = True
    return {"none": None, "shared": random[:1], "per sample": random, "keys": random[:, :, :1]}


@pytest.mark.usefixtures("xformers")
@pytest.mark.filterwarnings(UNCOMPILED)
@pytest.mark.parametrize("kind", ["none", "shared", "per sample", "keys"])
@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_computes_the_formula(name, kind):
    q, k, v = normal(2, 3, 5, 16), normal(2, 3, 11, 16, seed=1), normal(2, 3, 11, 16, seed=2)
    mask = masks(2)[kind]
    answer = BACKENDS[name].prepared(mask)(q, k, v)
    assert_close(answer, formula(q, k, v, mask), atol=2e-6, rtol=1e-5)


@pytest.mark.usefixtures("xformers")
@pytest.mark.filterwarnings(UNCOMPILED)
@torch.no_grad()
@pytest.mark.parametrize("name", ["xformers", "flex"])
def test_the_whole_network_answers_alike_with_every_backend(name):
    network, sequence = make_network(), training_layout(batch=2)
    expected = network(sequence)
    network.attention = BACKENDS[name]
    found = network(sequence)
    for part in ("video", "steps", "plan"):
        assert_close(getattr(found, part), getattr(expected, part), atol=1e-5, rtol=1e-4)


def test_torch_runs_everywhere_and_is_what_a_new_network_has():
    assert find_backend("torch", CPU) is BACKENDS["torch"]
    assert make_network().attention is BACKENDS["torch"]


def test_an_unknown_backend_is_answered_with_the_closest_name():
    with pytest.raises(UnknownName, match="Did you mean 'xformers'"):
        find_backend("xformer", CPU)


@pytest.mark.usefixtures("xformers")
@pytest.mark.parametrize("name", ["xformers", "flex"])
def test_backends_for_cuda_refuse_a_processor(name, monkeypatch):
    monkeypatch.setitem(BACKENDS, name, replace(BACKENDS[name], package=""))
    with pytest.raises(BadRequest, match=r"runs on CUDA devices alone\. Move the model there, or choose 'torch'"):
        make_network().tuned(attention=name)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(BACKENDS, "xformers", replace(BACKENDS["xformers"], package="no_such_package"))
    with pytest.raises(BadRequest, match="pip install no_such_package"):
        find_backend("xformers", CPU)


@pytest.mark.slow
@pytest.mark.timeout(900)  # compiling takes minutes on a busy processor
@torch.no_grad()
def test_compiled_layers_answer_alike():
    network, sequence = make_network(), training_layout()
    expected = network(sequence)
    found = network.tuned(compiled=True)(sequence)
    for part in ("video", "steps", "plan"):
        assert_close(getattr(found, part), getattr(expected, part), atol=1e-5, rtol=1e-4)
    assert torch.equal(network.tuned()(sequence).video, expected.video)
