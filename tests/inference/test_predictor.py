"""Predictions for utterances as a person has them, against the run's own data and inputs put together by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import vocabularies

import mmsa_lightning
from mmsa_lightning.data.ragged import Loaded
from mmsa_lightning.data.store import Split, Store, write
from mmsa_lightning.data.tokenizers import tokenizer
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.restore import restore
from mmsa_lightning.inference import predictor
from mmsa_lightning.inference.about import Modality
from mmsa_lightning.inference.export import package
from mmsa_lightning.inference.inputs import SPLIT, Reader, Utterance
from mmsa_lightning.inference.predictor import Predictor


@pytest.fixture(scope="module")
def packed(trained: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Predictor]:
    """A function that loads the package of a model that was trained."""
    folder = tmp_path_factory.mktemp("packages")

    def load(*what: str) -> Predictor:
        out = folder / str(hash(what))
        if not out.exists():
            package([trained(*what)], out)
        return mmsa_lightning.load(out)

    return load


def given(store: Path, n: int = 6) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """Texts and features of words of the first utterances of test, as their source has them."""
    split = Store(store).splits["test"]
    features = ([split.sequences[m][i][1:-1] for i in range(n)] for m in ("audio", "vision"))
    assert split.raw_text is not None
    return (split.raw_text[:n], *features)


def test_words_and_their_features_give_what_the_store_gives(
    packed: Callable[..., Predictor], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = packed("self_mm")
    texts, audio, vision = given(store)
    pieces = Store(store).splits["test"].sequences["tokens"]
    of_words = [
        len(text.split()) == len(a) == len(pieces[i]) - 2 for i, (text, a) in enumerate(zip(texts, audio, strict=True))
    ]
    assert all(of_words)  # the demo's words are single pieces
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.predict(texts, audio=audio, vision=vision)
    for size in (1, 1000):  # batches of one or two utterances, and one of all
        monkeypatch.setattr(predictor, "TOGETHER", size)
        np.testing.assert_allclose(found.sentiment, model.predict_store(store).sentiment[:6], atol=1e-5)
    assert found.members.shape == (1, 6)
    assert np.asarray(found).dtype == np.float32


def test_a_batch_changes_no_prediction_and_a_blank_text_is_refused(packed: Callable[..., Predictor]) -> None:
    model = packed("lmf", "bert", "modalities=[text]")
    texts = ["a fine film", "", "bad"]
    with pytest.raises(UserError, match="utterance 2 has none of text"):
        model.predict(texts)
    alone = [model.predict([text]).sentiment[0] for text in texts[::2]]
    np.testing.assert_allclose(model.predict(texts[::2]).sentiment, alone, atol=1e-6)


def test_a_column_of_a_table_that_was_sorted_counts_by_its_order(packed: Callable[..., Predictor], store: Path) -> None:
    model, (texts, audio, vision) = packed("self_mm"), given(store)
    order = [4, 1, 5]
    columns = pd.DataFrame({"text": texts, "audio": audio, "vision": vision}).iloc[order]
    found = model.predict(columns.text, audio=columns.audio, vision=columns.vision)
    expected = model.predict(texts, audio=audio, vision=vision).sentiment[order]
    np.testing.assert_allclose(found.sentiment, expected, atol=1e-5)


def test_a_step_a_word_is_one_where_there_are_as_many_pieces_too(packed: Callable[..., Predictor]) -> None:
    """As in training: of these words two have no piece, and the begin and the end mark are pieces."""
    model, steps = packed("self_mm"), np.arange(1.0, 4.0, dtype=np.float32)[:, None]
    inputs = model.reader.read(
        [
            Utterance(
                "a", "good \u200b\u200d \u200b", features={"audio": steps.repeat(5, 1), "vision": steps.repeat(20, 1)}
            )
        ]
    )
    assert inputs.pieces[0].word.tolist() == [-1, 0, -1]
    for m in ("audio", "vision"):
        assert inputs.splits[predictor.SPLIT].sequences[m][0][:, 0].tolist() == [0, 1, 0]


def test_a_long_text_is_cut_and_said(packed: Callable[..., Predictor]) -> None:
    model = packed("lmf", "bert", "modalities=[text]")
    with pytest.warns(UserWarning, match="1 of 2 utterances are longer than 512 word pieces: their end was cut off"):
        found = model.predict(["bad " * 10_000, "good"])
    assert found.sentiment[0] == pytest.approx(model.predict(["bad " * 510]).sentiment[0], abs=1e-6)


def test_another_language_is_said(packed: Callable[..., Predictor]) -> None:
    with pytest.warns(UserWarning, match="consist mostly of words that the text encoder does not know"):
        packed("lmf", "bert", "modalities=[text]").predict(["𓀀 𓀁 𓀂 𓀃"])


def test_another_scale_is_said(packed: Callable[..., Predictor], store: Path) -> None:
    texts, audio, vision = given(store)
    with pytest.warns(UserWarning, match=r"features of audio that lie, on average, more than 5 standard deviations"):
        packed("self_mm").predict(texts, audio=[1000 * a + 500 for a in audio], vision=vision)


def test_what_cannot_be_read_is_said_in_one_line(packed: Callable[..., Predictor], store: Path) -> None:
    model, (texts, audio, vision) = packed("self_mm"), given(store)
    nan = [np.full_like(a, np.nan) for a in audio]
    for wrong, words in (
        ({"texts": texts[:2]}, "as many of each"),
        ({"texts": "one text"}, "in lists"),
        ({"texts": [*texts[:3], float("nan"), *texts[4:]]}, "utterance 4: the text is nan: give a string, or None"),
        (
            {"audio": [a[:, :3] for a in audio]},
            r"audio of utterance 1 has the shape \(\d+, 3\): this model reads .*, 5\)",
        ),
        ({"audio": [a[:1] for a in audio]}, "audio of utterance 1 has 1 steps: this model was trained with"),
        ({"audio": nan}, "audio of utterance 1 has values that are infinite or not a number"),
        ({"audio": None}, "utterance 1 has no audio, and this model was not trained to miss any"),
        ({"audio": [*audio[:3], None, *audio[4:]]}, "utterance 4 has no audio"),
        ({"audio": [["a"]] * 6}, "give numbers"),
        ({"text": vision}, "features of text, which this model does not read"),
        ({"texts": [], "audio": [], "vision": []}, "there are no utterances to predict"),
    ):
        with pytest.raises(UserError, match=words) as raised:
            model.predict(**({"texts": texts, "audio": audio, "vision": vision} | wrong))
        assert "\n" not in str(raised.value)


def test_steps_of_a_model_without_text_are_as_many_of_each(packed: Callable[..., Predictor], store: Path) -> None:
    model, (_, audio, vision) = packed("mfn", "bert", "modalities=[audio,vision]"), given(store)
    with pytest.warns(UserWarning, match=r"6 of 6 utterances need a step of audio for each word piece"):
        assert len(model.predict(audio=audio, vision=vision).sentiment) == 6
    with pytest.raises(UserError, match=r"utterance 2 has \d+ steps of audio, 1 steps of vision: .* as many of each"):
        model.predict(audio=audio, vision=[vision[0], vision[1][:1], *vision[2:]])
    more = ("modalities=[audio,vision]", "missing.mode=modality", "missing.train=uniform")
    with (
        pytest.warns(UserWarning, match="1 of 6 utterances have no vision"),
        pytest.warns(UserWarning, match="5 of 6 utterances need a step of vision"),
    ):
        found = packed("mfn", "bert", *more).predict(audio=audio, vision=[None, *vision[1:]])
    assert np.isfinite(found.sentiment).all()


def test_what_was_trained_to_miss_nothing_refuses_what_lacks_a_modality(packed: Callable[..., Predictor]) -> None:
    model = packed("self_mm", "bert", "missing.train=same")
    assert model.about.missing is None
    with pytest.raises(UserError, match="was not trained to miss any"):
        model.predict(["a text alone"])


@pytest.mark.parametrize("absent", ["zeros", "learnt"])
def test_a_missing_modality_is_what_training_made_of_it(
    packed: Callable[..., Predictor], trained: Callable[..., Path], store: Path, absent: str
) -> None:
    more = ("missing.mode=modality", "missing.train=uniform", f"missing.absent={absent}", "optim.lr.other=0.1")
    run, model = trained("self_mm", "bert", *more), packed("self_mm", "bert", *more)
    texts, audio, vision = given(store)
    with pytest.warns(UserWarning, match="2 of 6 utterances have no audio, as utterances in training had none"):
        found = model.predict(texts, audio=[None, *audio[1:5], None], vision=vision)
    module, data = restore(run)
    batch = data.split("test")[[0, 5]]
    batch.audio.values.zero_()
    batch.dropped = torch.tensor([[False, True, False]] * 2)
    with torch.no_grad():
        expected = module.model.eval()(batch).prediction.numpy()
    np.testing.assert_allclose(found.sentiment[[0, 5]], expected, atol=1e-5)
    with pytest.warns(UserWarning, match="1 of 1 utterances have no text"):
        found_without = model.predict([None], audio=audio[:1], vision=vision[:1])
    batch = data.split("test")[[0]]
    batch.tokens.values[0, 1:-1] = 100  # [UNK]
    batch.dropped = torch.tensor([[True, False, False]])
    with torch.no_grad():
        expected = module.model.eval()(batch).prediction.numpy()
    np.testing.assert_allclose(found_without.sentiment, expected, atol=1e-5)
    np.testing.assert_allclose(found.sentiment[1:5], model.predict_store(store).sentiment[1:5], atol=1e-5)


def test_what_is_missing_is_as_long_as_in_training(packed: Callable[..., Predictor], store: Path) -> None:
    """Where nothing tells how long it was: half of the utterances of training are longer, and half shorter."""
    model, train = (
        packed("self_mm", "bert", "missing.mode=modality", "missing.train=uniform"),
        Store(store).splits["train"].sequences,
    )
    steps = {m: modality.median_steps for m, modality in model.about.modalities.items()}
    for m, name, around in (("text", "tokens", 2), ("audio", "audio", 0), ("vision", "vision", 0)):
        lengths = sorted(length - around for length in train[name].lengths.tolist())
        assert steps[m] == round((lengths[len(lengths) // 2] + lengths[(len(lengths) - 1) // 2]) / 2)
    _, audio, vision = given(store)
    flat = {m: replace(model.about.modalities[m], steps="utterance") for m in ("audio", "vision")}
    reader = Reader(replace(model.about, modalities=model.about.modalities | flat), model.reader.tokenizer)
    read = reader.read([Utterance("a", None, features={"audio": audio[0][:1], "vision": vision[0][:1]})])
    sequences = read.splits["given"].sequences
    assert {name: len(sequences[name][0]) for name in sequences} == dict.fromkeys(sequences, steps["text"] + 2)
    apart = replace(
        model.about,
        aligned=False,
        modalities=model.about.modalities | {m: replace(modality, steps="own") for m, modality in flat.items()},
    )
    read = Reader(apart, model.reader.tokenizer).read([Utterance("a", "so good", features={"vision": vision[0]})])
    assert len(read.splits["given"].sequences["audio"][0]) == steps["audio"]


def test_attention_is_of_words_and_sums_to_one(packed: Callable[..., Predictor], store: Path) -> None:
    model, (texts, audio, vision) = packed("interactive_attention"), given(store)
    found = model.predict(texts, audio=audio, vision=vision, attention=True)
    assert found.attention is not None
    for text, told in zip(texts, found.attention, strict=True):
        assert [word for word, _ in told.words] == text.lower().split()
        assert sum(weight for _, weight in told.words) == pytest.approx(1)
        assert {"text", "text<-audio", "audio<-vision"} <= set(told.weights)
        assert told.weights["text<-audio"].shape == (len(told.pieces), len(told.pieces))
    with pytest.raises(UserError, match="has no attention weights"):
        packed("self_mm").predict(texts, audio=audio, vision=vision, attention=True)


def test_features_of_the_text_are_given_as_such(packed: Callable[..., Predictor], store: Path) -> None:
    model, split = packed("tfn", "features"), Store(store).splits["test"]
    features = {m: [split.sequences[m][i] for i in range(4)] for m in ("text", "audio", "vision")}
    with pytest.warns(UserWarning, match="4 of 4 utterances need a step of text for each word piece"):
        found = model.predict(**features).sentiment
    np.testing.assert_allclose(found, model.predict_store(store).sentiment[:4], atol=1e-5)
    with pytest.raises(UserError, match="this model reads no texts, but features of width 50"):
        model.predict(["a"], audio=features["audio"][:1], vision=features["vision"][:1])


def test_features_on_word_pieces_that_are_not_read_are_as_many(packed: Callable[..., Predictor], store: Path) -> None:
    split = Store(store).splits["test"]
    assert split.raw_text is not None
    text = split.raw_text[0]
    features = {m: split.sequences[m][0] for m in ("text", "audio", "vision")}
    reader = packed("tfn", "features").reader
    assert not reader.read([Utterance("a", text, features=features)]).notes
    n = len(text.split())
    with pytest.raises(UserError, match=rf"text of a has {n} steps for {n} words: .* with one a word piece"):
        reader.read([Utterance("a", text, features={m: steps[1:-1] for m, steps in features.items()})])


def test_one_step_an_utterance_is_repeated_without_a_text_too(
    trained: Callable[..., Path], store: Path, tmp_path: Path
) -> None:
    """As training had it, on as many steps as the text has word pieces, which such a model does not know."""
    found = Store(store)
    flat = {name: replace(s, sequences=dict(s.sequences) | {"audio": _flat(s)}) for name, s in found.splits.items()}
    write(tmp_path / "flat.h5", flat, found.meta)
    package([trained("self_mm", "bert", "modalities=[audio]", f"data.path={tmp_path / 'flat.h5'}")], tmp_path / "p")
    model, test = mmsa_lightning.load(tmp_path / "p"), flat["test"].sequences["audio"]
    usual = [i for i in range(len(test)) if len(test[i]) == model.about.modalities["audio"].median_steps]
    assert usual
    with pytest.warns(UserWarning, match="have one step of audio, repeated as often as is usual"):
        predicted = model.predict(audio=[test[i][:1] for i in usual]).sentiment
    expected = model.predict_store(tmp_path / "flat.h5").sentiment[usual]
    np.testing.assert_allclose(predicted, expected, atol=1e-5)


def test_what_is_made_up_without_a_text_has_the_steps_of_what_is_there(
    packed: Callable[..., Predictor], store: Path
) -> None:
    """Of modalities that share their steps, one repeated and one missing among them."""
    model = packed("mfn", "bert", "modalities=[audio,vision]", "missing.mode=modality", "missing.train=uniform")
    (_, audio, vision), usual = given(store), model.about.modalities["audio"].median_steps
    flat = {m: replace(model.about.modalities[m], steps="utterance") for m in ("audio", "vision")}

    def steps(modalities: dict[str, Modality], **features: np.ndarray) -> list[int]:
        reader = Reader(replace(model.about, modalities=model.about.modalities | modalities), None)
        sequences = reader.read([Utterance("a", None, features=features)]).splits["given"].sequences
        return [len(sequences[m][0]) for m in ("audio", "vision")]

    one, words = audio[0][:1], vision[0]
    assert steps(flat, audio=one, vision=vision[0][:1]) == [usual, usual]
    assert steps(flat, audio=one) == [usual, usual]
    assert steps({"audio": flat["audio"]}, audio=one, vision=words) == [len(words), len(words)]
    assert steps({"audio": flat["audio"]}, vision=words) == [len(words), len(words)]


def _flat(split: Split) -> Loaded:
    """Its audio, the first real step of each utterance on all of its steps."""
    audio = split.sequences["audio"]
    return Loaded([np.repeat(audio[i][1:2], len(audio[i]), axis=0) for i in range(len(audio))])


def test_what_text_gets_of_attention_by_hand() -> None:
    """The mean over all attention to text of what each step gets, and the shares of words, without [CLS] and [SEP]."""
    own = np.array([[0.1, 0.6, 0.2, 0.1], [0.3, 0.2, 0.4, 0.1], [0, 1, 0, 0], [0, 0, 1, 0]])
    other = np.array([[0.2, 0.2, 0.4, 0.2], [0.0, 0.4, 0.4, 0.2]])
    found = predictor._over_text({"text": own, "audio<-text": other, "text<-audio": np.full((4, 2), 0.5)})
    np.testing.assert_allclose(found, [0.1, 0.375, 0.4, 0.125])
    words = predictor._words([np.array([0.1, 0.3, 0.2, 0.3, 0.1])], ["[CLS]", "play", "##ing", "on", "[SEP]"])
    assert dict(words) == pytest.approx({"playing": 0.625, "on": 0.375})


def test_text_that_is_left_out_keeps_its_marks_and_is_said_to_be_gone() -> None:
    split = Split(["a"], np.zeros(1), {"tokens": Loaded([np.array([101, 7, 8, 102])])})
    inputs: Any = SimpleNamespace(splits={SPLIT: split}, dropped=np.zeros((1, 3), bool))
    model: Any = SimpleNamespace(about=SimpleNamespace(vocabulary=SimpleNamespace(unknown=100)))
    left, dropped = Predictor._left_out(model, inputs, "text")
    assert left.sequences["tokens"][0].tolist() == [101, 100, 100, 102]
    assert dropped is not None and dropped.tolist() == [[True, False, False]] and not inputs.dropped.any()


def test_text_is_put_in_lower_case_where_that_of_training_was(packed: Callable[..., Predictor], tmp_path: Path) -> None:
    about = packed("lmf", "bert", "modalities=[text]").about
    assert about.vocabulary is not None
    both = [*vocabularies.TEXT, *map(str.upper, vocabularies.TEXT)]
    own = tokenizer(vocabularies.save(tmp_path / "roberta", "roberta", text=both))  # which tells case

    def ids(text: str, lower_cased: bool) -> list[int]:
        vocabulary = replace(about.vocabulary, lower_cased=lower_cased)
        inputs = Reader(replace(about, vocabulary=vocabulary), own).read([Utterance("a", text)])
        return inputs.splits[SPLIT].sequences["tokens"][0].tolist()

    assert ids("SO GREAT", True) == ids("so great", False) != ids("SO GREAT", False)
