"""A tiny random wav2vec 2.0, read as transformers itself would."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import videos
from transformers import BertConfig, BertModel, Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from mmsa_lightning.errors import UserError
from mmsa_lightning.media.audio import extractor


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8, 8),
        conv_kernel=(10, 8, 4),
        conv_stride=(5, 8, 8),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    path = tmp_path_factory.mktemp("wav2vec2")
    Wav2Vec2Model(config).save_pretrained(path)
    Wav2Vec2FeatureExtractor().save_pretrained(path)
    return path


def test_its_last_layer(saved: Path) -> None:
    wav2vec2 = extractor(f"wav2vec2:{saved}")
    assert (wav2vec2.sample_rate, wav2vec2.rate, len(wav2vec2.names)) == (16_000, 50.0, 16)
    sound = videos.tone(1.0, 300.0, 16_000)
    found = wav2vec2(sound)
    normal = torch.from_numpy((sound - sound.mean()) / np.sqrt(sound.var() + 1e-7))[None]
    with torch.no_grad():
        expected = Wav2Vec2Model.from_pretrained(saved).eval()(normal).last_hidden_state[0]
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert len(found.times) == len(found.values)
    np.testing.assert_allclose(found.times[:2], [[0, 0.02], [0.02, 0.04]])


def test_a_very_short_sound_has_a_frame(saved: Path) -> None:
    assert len(extractor(f"wav2vec2:{saved}")(np.zeros(3, np.float32)).values) == 1


def test_what_cannot_be_loaded_is_one_line(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^wav2vec2:.* cannot be loaded"):
        extractor(f"wav2vec2:{tmp_path}")
    BertModel(
        BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a bert model, which reads no sound"):
        extractor(f"wav2vec2:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("covarep", "are of librosa, opensmile, wav2vec2, not 'covarep'"),
        ("wav2vec2", "names its weights"),
        ("librosa:x", "takes no"),
    ],
)
def test_a_name_that_is_none(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        extractor(name)


def test_its_weights_are_known_by_their_bytes(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "a")
    before = extractor(f"wav2vec2:{tmp_path / 'a'}").versions
    assert before["weights"].startswith(str(tmp_path / "a"))
    model = Wav2Vec2Model.from_pretrained(tmp_path / "a")
    torch.nn.init.zeros_(model.feature_projection.projection.bias)
    torch.nn.init.ones_(model.feature_projection.projection.weight)
    model.save_pretrained(tmp_path / "a")
    assert extractor(f"wav2vec2:{tmp_path / 'a'}").versions != before
