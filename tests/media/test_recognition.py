"""Recognition: PocketSphinx's own models on a made-up voice, and a real Whisper, random and tiny."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)
from voice import RATE, say

from mmsa_lightning.errors import UserError
from mmsa_lightning.media import recognition
from mmsa_lightning.media.recognition import recogniser
from mmsa_lightning.media.tools import Settings, Tools

pytest.importorskip("pocketsphinx")
SPOKEN = (("oh", 0.5, 0.8), ("ah", 1.0, 1.35), ("e", 2.05, 2.3), ("ah", 2.4, 2.8))
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>", "<|startofprev|>"]


def test_pocketsphinx_hears_words_where_there_is_a_voice() -> None:
    hear = recogniser("pocketsphinx")
    assert "many of them wrong" in hear.quality
    words = hear(say(*SPOKEN))
    assert 0.4 < words[0].start < 0.6
    assert 2.7 < words[-1].end < 2.9
    assert all(word.text.replace("'", "").isalpha() and word.start < word.end for word in words)
    assert [word.start for word in words] == sorted(word.start for word in words)
    for samples in (0, 1, RATE):
        assert hear(np.zeros(samples, np.float32)) == []


def test_what_was_heard_before_changes_nothing() -> None:
    hear = recogniser("pocketsphinx")
    sound, other = say(("oh", 0.5, 0.8), ("ah", 1.0, 1.35)), say(("e", 0.2, 0.5), ("ah", 0.6, 1.0))
    words = hear(sound)
    for before in (other, 0.01 * other):
        hear(before)
        assert hear(sound) == words


def test_long_sound_is_cut_in_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "PIECE", 2)
    sound = say(("oh", 0.1, 0.95), ("ah", 1.25, 1.4), ("e", 1.95, 2.3), ("ah", 2.4, 2.8))
    (first, cut), (again, last) = recognition._pieces(sound)
    assert (first, again, last) == (0, cut, len(sound))
    assert 1.45 * RATE < cut < 1.95 * RATE  # of the two pauses in its second half the longer
    words = recogniser("pocketsphinx")(sound)
    assert 2.7 < words[-1].end < 2.9
    voiceless = np.zeros(5 * RATE, np.float32)
    pieces = list(recognition._pieces(voiceless))
    assert [a for a, _ in pieces] == [0, *(b for _, b in pieces[:-1])] and pieces[-1][1] == len(voiceless)
    assert max(b - a for a, b in pieces) <= 2 * RATE


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Whisper whose tokens are bytes, and which writes nothing but a, b, c and blanks."""
    folder = tmp_path_factory.mktemp("whisper")
    tokenizer = WhisperTokenizer(vocab={c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}, merges=[])
    tokenizer.add_special_tokens({"extra_special_tokens": SPECIAL[1:]})
    tokenizer.add_tokens([f"<|{i * 0.02:.2f}|>" for i in range(1501)])
    end, start, plain, before = tokenizer.convert_tokens_to_ids(SPECIAL)
    letters = tokenizer.convert_tokens_to_ids(["a", "b", "c", "Ġ"])
    ends = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": start}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    widths = {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_target_positions": 64}
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(vocab_size=len(tokenizer), init_std=1.0, **ends, **heads, **widths)
    )
    model.generation_config = GenerationConfig(
        **ends,
        no_timestamps_token_id=plain,
        prev_sot_token_id=before,
        is_multilingual=False,
        alignment_heads=[[0, 0], [0, 1]],
        max_length=48,
        max_initial_timestamp_index=50,
        suppress_tokens=sorted({*range(plain)} - {*letters, end}),
        begin_suppress_tokens=[end],
        return_timestamps=False,
    )
    for part in (model, tokenizer, WhisperFeatureExtractor()):
        part.save_pretrained(folder)
    return folder


def test_whisper(whisper: Path) -> None:
    hear = recogniser(str(whisper))
    assert str(whisper) in hear.quality
    sound = say(*SPOKEN)
    words = hear(sound)
    heard = hear.pipeline({"raw": sound, "sampling_rate": RATE}, return_timestamps=True)  # type: ignore[attr-defined]
    assert "".join(word.text for word in words) == heard["text"].replace(" ", "")
    assert len(words) > 3
    assert set("".join(word.text for word in words)) <= set("abc")
    assert 0 <= words[0].start <= words[-1].end <= len(sound) / RATE
    assert all(a.start <= a.end <= b.end for a, b in pairwise(words))
    assert hear(sound[:0]) == []


def test_the_weights_of_a_whisper_are_part_of_what_extracted(whisper: Path, tmp_path: Path) -> None:
    folder = tmp_path / "whisper"
    shutil.copytree(whisper, folder)
    made = Tools(Settings("none", "none", str(folder))).extraction(aligned=True).versions
    assert made["recogniser"].startswith(f"{folder} ") and "transformers" in made
    weights = load_file(folder / "model.safetensors")
    save_file({name: values / 2 for name, values in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    other = Tools(Settings("none", "none", str(folder))).extraction(aligned=True).versions
    assert {name for name in made if made[name] != other[name]} == {"recogniser"}


def test_a_word_without_an_end_lasts_as_long_as_the_sound() -> None:
    (word,) = recognition._words({"text": " so", "timestamp": (1.0, None)}, 2.5)
    assert (word.text, word.start, word.end) == ("so", 1.0, 2.5)
    assert recognition._words({"text": " ", "timestamp": (1.0, 2.0)}, 2.5) == []
    (late,) = recognition._words({"text": "so", "timestamp": (2.6, 29.98)}, 2.5)
    assert (late.start, late.end) == (2.5, 2.5)


def test_what_is_no_whisper_is_refused(whisper: Path, tiny_bert: str, tmp_path: Path) -> None:
    for name, said in (
        ("nobody/nothing", "connect|offline|cached"),
        (str(tmp_path), r"has no config\.json"),
        (tiny_bert, "it is a bert model, and no Whisper"),
    ):
        with pytest.raises(UserError, match=said) as error:
            recogniser(name)
        assert f"no Whisper {name!r}" in str(error.value) and "\n" not in str(error.value)
    path = whisper / "generation_config.json"
    written = path.read_text()
    try:
        path.write_text(json.dumps({k: v for k, v in json.loads(written).items() if k != "alignment_heads"}))
        with pytest.raises(UserError, match="no alignment_heads"):
            recogniser(str(whisper))
    finally:
        path.write_text(written)
