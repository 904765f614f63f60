"""What holds for every model that has a YAML: padding, batches of one, gradients, groups, text in either form, ..."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from mmsa_lightning.batch import MODALITIES, Batch, Padded
from mmsa_lightning.data.demo import DemoDataModule
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.components import build
from mmsa_lightning.experiment.config import config_dir, plain
from mmsa_lightning.objectives.base import Objective
from mmsa_lightning.training.optim import build_optimizer, parameter_groups

MODELS = sorted(path.stem for path in (config_dir() / "model").glob("*.yaml"))
WIDTHS = {"text": 12, "audio": 5, "vision": 20}
# A softmax does not see what is added to all its scores, so the bias of its keys has no effect.
WITHOUT_EFFECT = re.compile(r"attention\.self\.key\.bias$")

pytestmark = pytest.mark.parametrize("name", MODELS)
either_text = pytest.mark.parametrize("text", ["bert", "features"])
Build = Callable[..., tuple[nn.Module, Objective]]


@pytest.fixture
def made(name: str, tiny_bert: str) -> Iterator[Build]:
    """Build the model and its objective from the YAML for these dims, without dropout."""

    def make(dims: dict[str, int | None], labels: torch.Tensor) -> tuple[nn.Module, Objective]:
        config = composed(name, tiny_bert)
        torch.manual_seed(0)
        model = build("model", config["model"], where_null={"limit": 3.0}, dims=dims)
        objective = build("objective", config["objective"], where_null={"limit": 3.0})
        objective.setup(labels, getattr(model, "feature_widths", {}))
        return without_dropout(model), objective

    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        yield make


def composed(name: str, text_encoder: str) -> dict[str, Any]:
    return plain(compose("train", [f"model={name}", f"text_encoder={text_encoder}"]))


def without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):  # of attention and LSTMs
            module.dropout = 0.0  # type: ignore[assignment]
    return model


def dims_of(text: str) -> dict[str, int | None]:
    return {**WIDTHS, "text": None if text == "bert" else WIDTHS["text"]}


def sequences(lengths: list[int], width: int, rng: np.random.Generator) -> Padded:
    return Padded.from_arrays([rng.normal(size=(n, width)).astype(np.float32) for n in lengths])


def make_batch(lengths: list[int], text: str, longer: int = 0) -> Batch:
    """Utterances of ``lengths`` words; audio and vision have the same steps or, unaligned, ``longer`` ones."""
    rng = np.random.default_rng(0)
    batch = Batch(
        index=torch.arange(len(lengths)),
        label=torch.from_numpy(rng.uniform(-3, 3, len(lengths)).astype(np.float32)),
        audio=sequences([n * (1 + longer) + longer for n in lengths], WIDTHS["audio"], rng),
        vision=sequences([n * (1 + longer) for n in lengths], WIDTHS["vision"], rng),
    )
    if text == "bert":
        batch.tokens = Padded.from_arrays([rng.integers(1, 1000, n) for n in lengths])
    else:
        batch.text = sequences(lengths, WIDTHS["text"], rng)
    return batch


def more_padding(batch: Batch, steps: int) -> Batch:
    """The same utterances with more padding, filled with something other than zeros."""

    def longer(p: Padded) -> Padded:
        n, time = p.values.shape[:2]
        values = torch.full((n, time + steps, *p.values.shape[2:]), 7, dtype=p.values.dtype)
        values[:, :time] = torch.where(p.mask.reshape(n, time, *[1] * (p.values.ndim - 2)), p.values, 7)
        return Padded(values, torch.arange(time + steps) < p.lengths[:, None], p.lengths)

    present = [m for m in ("tokens", "text", "audio", "vision") if getattr(batch, m) is not None]
    return Batch(batch.index, batch.label, **{m: longer(getattr(batch, m)) for m in present})


def suitable(model: nn.Module, text: str, lengths: list[int]) -> Batch:
    """A batch of unaligned sequences, unless the model needs them aligned."""
    return make_batch(lengths, text, longer=0 if getattr(model, "needs_alignment", False) else 2)


@either_text
def test_padding_changes_nothing(made: Build, text: str) -> None:
    batch = make_batch([6, 3, 1, 5], text)
    model, objective = made(dims_of(text), batch.label)
    batch = suitable(model, text, [6, 3, 1, 5])
    padded = more_padding(batch, 4)
    for training in (False, True):
        model.train(training)
        with torch.no_grad():
            plainly, longer = model(batch), model(padded)
        torch.testing.assert_close(plainly.prediction, longer.prediction, rtol=0, atol=1e-5)
        for m in plainly.tasks:
            torch.testing.assert_close(plainly.tasks[m], longer.tasks[m], rtol=0, atol=1e-5)
        for key, value in plainly.features.items():
            torch.testing.assert_close(value, longer.features[key], rtol=0, atol=1e-5)
    losses = [objective(output, batch, 1).total for output in (plainly, longer)]
    torch.testing.assert_close(*losses, rtol=0, atol=1e-5)


@either_text
def test_a_batch_of_one_is_predicted_as_in_company_and_trains(made: Build, text: str) -> None:
    together = make_batch([6, 3, 1, 5], text)
    model, objective = made(dims_of(text), together.label)
    together = suitable(model, text, [6, 3, 1, 5])
    with torch.no_grad():
        expected = model.eval()(together).prediction
    for i in range(4):
        present = [m for m in ("tokens", "text", "audio", "vision") if getattr(together, m) is not None]
        own = {m: int(getattr(together, m).lengths[i]) for m in present}
        alone = Batch(
            together.index[i : i + 1],
            together.label[i : i + 1],
            **{m: Padded.from_arrays([getattr(together, m).values[i, :n].numpy()]) for m, n in own.items()},
        )
        with torch.no_grad():
            torch.testing.assert_close(model.eval()(alone).prediction, expected[i : i + 1], rtol=0, atol=1e-5)
        model.zero_grad()
        loss = objective(model.train()(alone), alone, 1).total
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@either_text
def test_every_parameter_gets_a_gradient(made: Build, text: str) -> None:
    lengths = [9, 6, 3, 5, 7, 8, 4, 6, 2]  # an odd number: as many errors up as down would leave a bias where it is
    batch = make_batch(lengths, text)
    model, objective = made(dims_of(text), batch.label)
    batch = suitable(model, text, lengths)
    model.train()
    for epoch in (1, 2, 3):  # generated labels differ from the true one, and so weigh, from the third epoch on
        loss = objective(model(batch), batch, epoch).total
    loss.backward()
    without = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [key for key in without if not WITHOUT_EFFECT.search(key)] == []


@either_text
def test_every_parameter_is_in_exactly_one_group(name: str, made: Build, text: str, tiny_bert: str) -> None:
    model, _ = made(dims_of(text), torch.zeros(4))
    options = composed(name, tiny_bert)["optim"]
    groups = parameter_groups(model, options["lr"], options["weight_decay"])
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(id(p) for p in model.parameters())
    names = {g["name"] for g in groups}
    assert ("bert" in names) == (text == "bert")


STEPS = 250


@pytest.mark.slow
def test_overfits_16_demo_utterances(
    name: str, made: Build, tiny_bert: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Adam at 1e-3 (BERT, random: 5e-4), no dropout, all 16 in one batch: training MAE below 0.1 within 250 steps."""
    data = DemoDataModule(
        str(tmp_path_factory.getbasetemp() / "sixteen.h5"),
        generator_seed=0,
        counts={"train": 16, "valid": 1, "test": 1},
        batch_size=16,
        eval_batch_size=16,
        text=composed(name, tiny_bert)["text"],
        modalities=None,
        standardize=True,
        seed=1,
        num_workers=0,
    )
    data.prepare_data()
    data.setup()
    batch = data.split("train")[list(range(16))]
    model, objective = made(data.dims, batch.label)
    lr = {"bert": 5e-4, "audio": 1e-3, "video": 1e-3, "other": 1e-3}
    optimizer = build_optimizer(model, algorithm="adam", lr=lr, weight_decay=dict.fromkeys(lr, 0.0))
    model.train()
    for step in range(STEPS):
        optimizer.zero_grad()
        output = model(batch)
        if step % 10 == 0 and (output.prediction - batch.label).abs().mean() < 0.05:
            break
        objective(output, batch, 1 + step // 10).total.backward()
        optimizer.step()
    with torch.no_grad():
        assert (model.eval()(batch).prediction - batch.label).abs().mean() < 0.1


def test_a_checkpoint_round_trips(made: Build) -> None:
    batch = make_batch([6, 3, 1, 5], "bert")
    model, objective = made(dims_of("bert"), batch.label)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    objective(model.train()(batch), batch, 1).total.backward()
    optimizer.step()
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "objective": objective.state_dict()}, file)
    file.seek(0)
    fresh, fresh_objective = made(dims_of("bert"), torch.zeros(4))
    state = torch.load(file, weights_only=True)
    with torch.no_grad():
        expected = model.eval()(batch).prediction
        assert not torch.equal(fresh.eval()(batch).prediction, expected)
        fresh.load_state_dict(state["model"])
        fresh_objective.load_state_dict(state["objective"])
        assert torch.equal(fresh.eval()(batch).prediction, expected)


@either_text
def test_unaligned_input_is_read_or_refused(made: Build, text: str) -> None:
    model, _ = made(dims_of(text), torch.zeros(3))
    unaligned = make_batch([6, 1, 5], text, longer=3)
    if getattr(model, "needs_alignment", False):
        with pytest.raises(ValueError, match="align"):
            model(unaligned)
    else:
        assert model(unaligned).prediction.shape == (3,)


@pytest.mark.parametrize(
    "modalities", [c for n in (1, 2, 3) for c in itertools.combinations(MODALITIES, n)], ids="-".join
)
def test_a_subset_of_modalities_is_read_or_refused_in_one_line(
    name: str, made: Build, modalities: tuple[str, ...]
) -> None:
    batch = make_batch([6, 3, 1, 5], "bert")
    dims = {m: dim for m, dim in dims_of("bert").items() if m in modalities}
    try:
        model, objective = made(dims, batch.label)
    except UserError as error:
        assert len(modalities) < 3 and str(error).startswith("model: ") and "\n" not in str(error)
        assert any(m in str(error) for m in ("modalit", *MODALITIES))
    else:
        output = model.train()(batch)
        assert output.prediction.shape == (4,)
        assert objective(output, batch, 1).total.isfinite()


@either_text
def test_a_step_never_waits_for_the_device(made: Build, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device numbers have no values: whatever asks for one, to go on from it, fails."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # which meta has not
    batch = make_batch([6, 3, 1, 5], text)
    model, objective = made(dims_of(text), batch.label)
    batch = suitable(model, text, [6, 3, 1, 5]).to("meta")
    model.to("meta").train()
    objective.to("meta").start_epoch()
    for epoch in (1, 2):  # labels are generated from the second on
        objective(model(batch), batch, epoch).total.backward()


@either_text
def test_bfloat16_is_close_to_float32(made: Build, text: str) -> None:
    batch = make_batch([6, 3, 1, 5], text)
    model, objective = made(dims_of(text), batch.label)
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch)
        loss = objective(output, batch, 1).total
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(output.prediction.float(), model(batch).prediction, rtol=0, atol=0.1)
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
