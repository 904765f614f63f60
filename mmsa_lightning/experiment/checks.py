"""What is asked of every model: by the tests of ours, and by ``mmsa check model=NAME`` of anybody's.

A check is a function of a :class:`Candidate` and the form of its text, ``bert`` or ``features``. It raises
:class:`Failed`, or whatever the model itself raises, where the model does not do what the check's name says.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.candidate import Candidate, alone, more_padding
from mmsa_lightning.modalities import MODALITIES
from mmsa_lightning.training.optim import build_optimizer, parameter_groups

CLOSE = 1e-5  # as far as float32 may move a prediction
STEPS = 250
# A softmax does not see what is added to all its scores, so the bias of its keys has no effect.
WITHOUT_EFFECT = re.compile(r"attention\.self\.key\.bias$")


class Failed(Exception):
    """In one line, what a model does instead of what is asked of it."""


def padding_changes_nothing(candidate: Candidate, form: str) -> None:
    """Neither prediction nor auxiliary tasks, features and loss, in evaluation and in training."""
    model, objective = candidate.made(form)
    batch = candidate.suitable(model, form)
    padded = more_padding(batch, 4)
    for training in (False, True):
        model.train(training)
        with torch.no_grad():
            plainly, again, longer = model(batch), model(batch), model(padded)
        if not torch.allclose(again.prediction, plainly.prediction, rtol=0, atol=CLOSE):
            raise Failed("two passes differ even without more padding: randomness must come from nn.Dropout (p=0 here)")
        _same("prediction", longer.prediction, plainly.prediction)
        for task, value in plainly.tasks.items():
            _same(f"tasks[{task}]", longer.tasks[task], value)
        for key, value in plainly.features.items():
            _same(f"features[{key}]", longer.features[key], value)
    loss, expected = (objective(output, batch, 1).total for output in (longer, plainly))
    _same("loss", loss, expected)


def a_batch_of_one_is_predicted_as_in_company_and_trains(candidate: Candidate, form: str) -> None:
    """Each utterance by itself gets the same prediction, and a finite loss with finite gradients."""
    model, objective = candidate.made(form)
    together = candidate.suitable(model, form)
    with torch.no_grad():
        expected = model.eval()(together).prediction
    for i in range(len(together)):
        one = alone(together, i)
        with torch.no_grad():
            _same(f"prediction of utterance {i}", model.eval()(one).prediction, expected[i : i + 1])
        model.zero_grad()
        loss = objective(model.train()(one), one, 1).total
        loss.backward()
        _finite(model, loss)


def every_parameter_gets_a_gradient(candidate: Candidate, form: str) -> None:
    """Each that is trained, and that an output depends on at all."""
    lengths = [9, 6, 3, 5, 7, 8, 4, 6, 2]  # an odd number: as many errors up as down would leave a bias where it is
    model, objective = candidate.made(form, lengths)
    batch = candidate.suitable(model, form, lengths)
    model.train()
    for epoch in (1, 2, 3):  # generated labels differ from the true one, and so weigh, from the third epoch on
        loss = objective(model(batch), batch, epoch).total
    loss.backward()
    trained = {key: p.grad for key, p in model.named_parameters() if p.requires_grad}
    without = [key for key, grad in trained.items() if grad is None or not grad.any()]
    if without := [key for key in without if not WITHOUT_EFFECT.search(key)]:
        raise Failed(f"no gradient for {', '.join(without)}")


def every_parameter_is_in_exactly_one_group(candidate: Candidate, form: str) -> None:
    """Each that is trained, also the objective's, and those of a pretrained encoder in BERT's."""
    model, objective = candidate.made(form)
    options = candidate.config["optim"]
    names: dict[int, list[str]] = {}
    for group in parameter_groups(model, options["lr"], options["weight_decay"], weights=objective.parameters()):
        for p in group["params"]:
            names.setdefault(id(p), []).append(group["name"])
    for key, p in [*model.named_parameters(), *objective.named_parameters(prefix="objective")]:
        if p.requires_grad and len(found := names.get(id(p), [])) != 1:
            raise Failed(f"{key} is in {' and '.join(found) or 'none'}")
    for key, module in model.named_modules():
        if isinstance(module, PreTrainedModel) and "bert" not in key.split("."):
            raise Failed(f"{key} is pretrained, but has the learning rate of new parts: name it bert")


def overfits_16_demo_utterances(candidate: Candidate, form: str) -> None:
    """Adam at 1e-3 (BERT, random: 5e-4), no dropout, all 16 in one batch: training MAE below 0.1 within 250 steps."""
    batch, dims = candidate.demo(form, 16)
    model, objective = candidate.make(dims, batch.label)
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
        mae = (model.eval()(batch).prediction - batch.label).abs().mean()
    if not mae < 0.1:
        raise Failed(f"after {STEPS} steps their MAE is {mae:.2g}, not below 0.1")


def a_checkpoint_round_trips(candidate: Candidate, form: str) -> None:
    """Weights and the objective's state, saved after a step and loaded into new ones, give the same prediction."""
    batch = candidate.batch(form)
    model, objective = candidate.made(form)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    objective(model.train()(batch), batch, 1).total.backward()
    optimizer.step()
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "objective": objective.state_dict()}, file)
    file.seek(0)
    fresh, fresh_objective = candidate.make(candidate.dims(form), torch.zeros(len(batch)))
    state = torch.load(file, weights_only=True)
    with torch.no_grad():
        expected = model.eval()(batch).prediction
        if torch.equal(fresh.eval()(batch).prediction, expected):
            raise Failed("a training step changes no prediction")
        fresh.load_state_dict(state["model"])
        fresh_objective.load_state_dict(state["objective"])
        _same("prediction", fresh.eval()(batch).prediction, expected, atol=0)


def unaligned_input_is_read_or_refused(candidate: Candidate, form: str) -> None:
    """A model that has ``needs_alignment = True`` refuses it, by a ValueError that speaks of alignment."""
    lengths = [6, 1, 5]
    model, _ = candidate.made(form, lengths)
    unaligned = candidate.batch(form, lengths, longer=3)
    if not getattr(model, "needs_alignment", False):
        _one_each(model(unaligned).prediction, 3)
        return
    try:
        model(unaligned)
    except ValueError as error:
        if "align" not in str(error):
            raise
    else:
        raise Failed("needs_alignment is True, but unaligned input is read")


def any_subset_of_modalities_is_read_or_refused_in_one_line(candidate: Candidate, form: str) -> None:
    """Each of :func:`a_subset_of_modalities_is_read_or_refused_in_one_line`."""
    for n in range(1, len(candidate.modalities) + 1):
        for subset in itertools.combinations(candidate.modalities, n):
            try:
                a_subset_of_modalities_is_read_or_refused_in_one_line(candidate, form, subset)
            except Exception as error:
                raise Failed(f"modalities=[{','.join(subset)}]: {reason(error)}") from error


def a_subset_of_modalities_is_read_or_refused_in_one_line(
    candidate: Candidate, form: str, modalities: Sequence[str]
) -> None:
    """What a model refuses, and all modalities are not to be refused, it does with a UserError, when it is built."""
    batch = candidate.batch(form)
    dims = {m: dim for m, dim in candidate.dims(form).items() if m in modalities}
    try:
        model, objective = candidate.make(dims, batch.label)
    except UserError as error:
        line = str(error)
        if len(modalities) == len(candidate.modalities):
            raise
        if "\n" in line or not any(m in line for m in ("modalit", *MODALITIES)):
            raise Failed(f"refused, but not in one line that names a modality: {line}") from error
        if candidate.plugins is None and not line.startswith("model: "):  # as all errors of our models do
            raise Failed(f"refused, but not as model: …: {line}") from error
    else:
        output = model.train()(batch)
        _one_each(output.prediction, len(batch))
        _finite(model, objective(output, batch, 1).total)


def a_step_never_waits_for_the_device(candidate: Candidate, form: str) -> None:
    """On the meta device numbers have no values: whatever asks for one, to go on from it, fails."""
    model, objective = candidate.made(form)
    batch = candidate.suitable(model, form).to("meta")
    model.to("meta").train()
    objective.to("meta").start_epoch()
    with _without_autocast():
        for epoch in (1, 2):  # labels are generated from the second on
            objective(model(batch), batch, epoch).total.backward()


def bfloat16_is_close_to_float32(candidate: Candidate, form: str) -> None:
    """Predictions to 0.1, under ``torch.autocast``; the loss stays in float32."""
    batch = candidate.batch(form)
    model, objective = candidate.made(form)
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch)
        loss = objective(output, batch, 1).total
    loss.backward()
    if loss.dtype != torch.float32:
        raise Failed(f"the loss is in {loss.dtype}")
    _same("prediction", output.prediction.float(), model(batch).prediction, atol=0.1)
    _finite(model, loss)


IN_EITHER_FORM = (
    padding_changes_nothing,
    a_batch_of_one_is_predicted_as_in_company_and_trains,
    every_parameter_gets_a_gradient,
    every_parameter_is_in_exactly_one_group,
    a_checkpoint_round_trips,
    unaligned_input_is_read_or_refused,
    any_subset_of_modalities_is_read_or_refused_in_one_line,
    a_step_never_waits_for_the_device,
    bfloat16_is_close_to_float32,
)
IN_ITS_OWN_FORM = (overfits_16_demo_utterances,)  # it takes longest


def reason(error: Exception) -> str:
    """An error in one line, by its type unless it was meant to be read."""
    line = " ".join(str(error).split())
    return line if isinstance(error, Failed | UserError) else f"{type(error).__name__}: {line}"


def _same(what: str, found: Tensor, expected: Tensor, atol: float = CLOSE) -> None:
    try:
        torch.testing.assert_close(found, expected, rtol=0, atol=atol)
    except AssertionError as error:
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            raise Failed(f"{what}: {str(error).splitlines()[0]}") from error
        moved = (found - expected).abs().reshape(len(found) if found.ndim else 1, -1).amax(dim=1)
        whose = f" of utterance {moved.argmax()}" if len(moved) > 1 else ""
        raise Failed(f"{what}{whose} moves by {moved.max():.2g}, more than {atol:g}") from error


def _one_each(prediction: Tensor, count: int) -> None:
    if prediction.shape != (count,):
        raise Failed(f"prediction of {count} utterances is of shape {tuple(prediction.shape)}, not ({count},)")


def _finite(model: nn.Module, loss: Tensor) -> None:
    if not loss.isfinite():
        raise Failed(f"loss is {loss.item()}")
    for key, p in model.named_parameters():
        if p.grad is not None and not p.grad.isfinite().all():
            raise Failed(f"gradient of {key} is not finite")


@contextlib.contextmanager
def _without_autocast() -> Iterator[None]:
    """Without ``torch.autocast``, which the meta device has not; older transformers ask whether it is on."""
    autocast, is_enabled = torch.autocast, torch.is_autocast_enabled
    torch.autocast = lambda *_, **__: contextlib.nullcontext()  # type: ignore[misc, assignment]
    torch.is_autocast_enabled = lambda *_: False
    try:
        yield
    finally:
        torch.autocast = autocast  # type: ignore[misc]
        torch.is_autocast_enabled = is_enabled
