"""What is measured is what it is said to be."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import curves
import made
import numpy as np
import overhead
import packing
import pytest
import source
import torch
from batches import figures
from bf16 import PRODUCTS, WideProducts
from steps import Steps
from torch.utils._python_dispatch import TorchDispatchMode
from warm import Python

from mmsa_lightning import cli
from mmsa_lightning.batch import Padded
from mmsa_lightning.data.sampler import TrainingSampler
from mmsa_lightning.data.store import SPLITS, Store
from mmsa_lightning.models.layers.text_encoder import TextEncoder

HERE = Path(__file__).parents[2] / "experiments" / "benchmarks"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "made.h5"
    made.write(path, {"train": 300, "valid": 8, "test": 4}, 15)
    return path


def test_a_made_store_has_the_length_that_was_asked_for(store: Path) -> None:
    lengths = Store(store).splits["train"].sequences["tokens"].lengths
    assert len(lengths) == 300
    assert lengths.mean() == pytest.approx(15, abs=1.5)


def test_the_overhead_of_a_step_is_what_its_own_arithmetic_leaves(store: Path) -> None:
    overrides = ["model=lmf", "data=own", f"data.path={store}", "modalities=[audio,vision]"]
    step, own, reading = overhead.measure(overrides, epochs=1)
    assert len(step) == len(own) == len(reading) == 1
    assert own[0] > 0
    assert 0 < reading[0] < step[0]


def test_a_step_clips_gradients_as_the_config_says(store: Path) -> None:
    limit = "trainer.gradient_clip_val=0.001"
    steps = Steps("model=lmf", "data=own", f"data.path={store}", "modalities=[audio,vision]", limit)
    steps.step(next(steps.batches()))
    norms = [p.grad.norm() for p in steps.module.model.parameters() if p.grad is not None]
    assert torch.stack(norms).norm().item() == pytest.approx(0.001, rel=1e-3)


def test_both_sides_read_the_same_utterances(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "aligned_50.pkl"
    source.write(path, store)
    cli.main(["data", "import", str(path), "--dataset", "mosi", "--out", str(tmp_path / "mosi.h5")])
    for name in SPLITS:
        given, taken = Store(store).splits[name], Store(tmp_path / "mosi.h5").splits[name]
        assert given.ids == taken.ids
        np.testing.assert_array_equal(given.label, taken.label)
        for sequence in ("tokens", "audio", "vision"):
            for i in range(len(given)):
                np.testing.assert_array_equal(given.sequences[sequence][i][:50], taken.sequences[sequence][i])


def test_the_originals_get_features_as_ours_get_them(store: Path, tmp_path: Path) -> None:
    source.write(path := tmp_path / "aligned_50.pkl", store, scaled=True)
    with path.open("rb") as file:
        parts = pickle.load(file)
    raw = Store(store).splits
    train = np.concatenate([raw["train"].sequences["vision"][i] for i in range(len(raw["train"]))])
    for name in SPLITS:
        first = raw[name].sequences["vision"][0][:50]
        expected = (first - train.mean(axis=0)) / train.std(axis=0)
        np.testing.assert_allclose(parts[name]["vision"][0][: len(first)], expected, rtol=1e-4, atol=1e-5)
        assert not parts[name]["vision"][0][len(first) :].any()


def test_features_are_padded_in_front_and_tokens_behind_where_that_is_asked_for(store: Path, tmp_path: Path) -> None:
    source.write(path := tmp_path / "aligned_50.pkl", store, front=True)
    with path.open("rb") as file:
        parts = pickle.load(file)
    for name, split in Store(store).splits.items():
        for i in range(len(split)):
            tokens, vision = split.sequences["tokens"][i][:50], split.sequences["vision"][i][:50]
            np.testing.assert_array_equal(parts[name]["vision"][i][50 - len(vision) :], vision)
            assert not parts[name]["vision"][i][: 50 - len(vision)].any()
            assert parts[name]["text"][i][50 - len(tokens) :].all()
            assert not parts[name]["text"][i][: 50 - len(tokens)].any()
            np.testing.assert_array_equal(parts[name]["text_bert"][i][0][: len(tokens)], tokens)
            assert not parts[name]["text_bert"][i][1][len(tokens) :].any()


def test_a_step_trains(store: Path, tiny_bert: str) -> None:
    steps = Steps("data=own", f"data.path={store}", f"text_encoder={tiny_bert}")
    before = [p.detach().clone() for p in steps.module.parameters()]
    steps.step(next(steps.batches()))
    changed = [not (p == q).all() for p, q in zip(steps.module.parameters(), before, strict=True)]
    assert sum(changed) > len(changed) / 2


def test_wide_products_are_those_of_bf16() -> None:
    """Against torch's own, which may round a sum's parts in another order."""
    generator = torch.Generator().manual_seed(0)
    a, b, c = (torch.randn(n, m, generator=generator).bfloat16() for n, m in ((30, 40), (40, 20), (1, 20)))
    q = torch.randn(2, 2, 6, 8, generator=generator).bfloat16()
    mask = torch.zeros(2, 1, 1, 6, dtype=torch.bfloat16).index_fill(3, torch.tensor([5]), -torch.inf)

    def products() -> list[torch.Tensor]:
        attention = torch.nn.functional.scaled_dot_product_attention(q, q, q, mask)
        return [a @ b, torch.addmm(c, a, b), torch.bmm(a[None], b[None]), attention]

    class Seen(TorchDispatchMode):
        """What is computed in the end."""

        def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
            if func in PRODUCTS:
                seen.append(args[0].dtype)
            return func(*args, **(kwargs or {}))

    seen: list[torch.dtype] = []
    with Seen(), WideProducts():
        wide = products()
    assert seen == [torch.float32] * 4
    for computed, expected in zip(wide, products(), strict=True):
        assert computed.dtype == torch.bfloat16
        torch.testing.assert_close(computed, expected, rtol=2**-7, atol=2**-6)
    # Rounded once, at the end: half of bf16's last digit. Sums kept in bf16 would be further off.
    torch.testing.assert_close(wide[0].double(), a.double() @ b.double(), rtol=2**-8, atol=1e-5)


def test_both_precisions_are_drawn(
    tmp_path: Path, tiny_bert: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forked(*words: Any, threads: int) -> Any:
        """As ``child.run``, but the process need not import torch."""
        process = Python([*words], tmp_path, os.environ | {"OMP_NUM_THREADS": str(threads)})
        assert process.wait() == 0, process.stderr
        return json.loads(process.stdout.splitlines()[-1])

    store = tmp_path / "made.h5"
    made.write(store, {"train": 40, "valid": 8, "test": 4}, 15)
    options = ["--store", str(store), "--encoder", tiny_bert, "--seeds", "1", "2", "--epochs", "2", "--workers", "1"]
    monkeypatch.setattr("child.run", forked)
    monkeypatch.setattr("sys.argv", ["curves.py", *options, "--out", str(tmp_path)])
    curves.main()
    printed = capsys.readouterr().out.splitlines()
    runs = [re.fullmatch(r"(32-true|bf16-mixed), seed (\d): (\d\.\d{3}) (\d\.\d{3})", line) for line in printed[:4]]
    whole, half = ({m[2]: float(m[3]) for m in runs if m and m[1] == p} for p in ("32-true", "bf16-mixed"))
    assert whole == pytest.approx(half, abs=0.05) and set(whole) == {"1", "2"}
    assert [line.split(":")[0] for line in printed[4:]] == ["32-true", "bf16-mixed", "difference"]
    assert (tmp_path / "bf16.png").stat().st_size > 1000


def test_memory_is_measured(tmp_path: Path) -> None:
    """A tenth of a percent of CMU-MOSEI, in which the libraries weigh more than the data."""
    command = [sys.executable, str(HERE / "memory.py"), "--counts", "24", "8", "8"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    imported, trained = printed.splitlines()
    assert re.fullmatch(r"import: a pickle of 7 MiB, at most \d{3} MiB resident, [\d.]+ times the pickle", imported)
    assert re.fullmatch(r"training: lmf on a store of \d MiB, at most \d{3,4} MiB .* before it", trained)


def test_figures_of_batches_by_hand() -> None:
    """Six utterances in batches of four: two are left over, and weigh twice as much as the four."""
    label = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    sampler = TrainingSampler(np.array([1, 1, 1, 5, 5, 5]), 4, seed=0, order="uniform")
    sampler.set_epoch(0)
    first, second = sorted(sampler, key=len)
    weight, meeting, spread, padding = figures(sampler, label, 1)
    assert weight == pytest.approx((1 / 2) / (2 / 6))
    assert np.isnan(meeting)  # of one epoch there is no next
    assert spread == 0
    longest = [5 if max(batch) >= 3 else 1 for batch in (first, second)]
    assert padding == pytest.approx((2 * longest[0] + 4 * longest[1]) / 18)
    alone = TrainingSampler(np.ones(6, int), 6, seed=0, order="uniform")
    assert figures(alone, label, 3)[:3] == pytest.approx((1, 1, 0))  # one batch: all meet again


def test_packed_and_padded_encoders_read_the_same(tiny_bert: str) -> None:
    encoder, rng = TextEncoder(tiny_bert, dropout=0.0), np.random.default_rng(0)
    tokens = Padded.from_arrays([rng.integers(5, 1000, n) for n in (7, 3, 12)])
    rows = []
    encoder.layers[0].register_forward_pre_hook(lambda layer, inputs: rows.append(inputs[0].shape[:2].numel()))
    for first in (False, True):
        one, other = (packing.read(encoder, tokens, packed=packed, first=first) for packed in (True, False))
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    assert rows[:2] == [7 + 3 + 12, 3 * 12]
