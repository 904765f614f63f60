"""What is known of an utterance before training, against the store and the encoder one utterance at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmsa_lightning.batch import Padded
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.missing import Missing
from mmsa_lightning.experiment.candidate import Candidate
from mmsa_lightning.experiment.conformance import composed
from mmsa_lightning.experiment.inputs import unimodal_inputs
from mmsa_lightning.models.layers.text_encoder import TextEncoder


@pytest.mark.parametrize("text", ["bert", "features"])
def test_a_vector_for_each_utterance_and_modality(text: str, tiny_bert: str, tmp_path: Path) -> None:
    candidate = Candidate(composed(["model=interactive_attention", f"text_encoder={tiny_bert}"]), tmp_path)
    batch, dims = candidate.demo(text, 70)  # more than are read together
    model, _ = candidate.make(dims, batch.label)
    data = StoreDataModule(
        str(tmp_path / "demo70.h5"),
        batch_size=8,
        eval_batch_size=8,
        text=text,
        modalities=None,
        standardize=True,
        seed=1,
        num_workers=0,
    )
    data.setup()
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5  # it is off while the encoder reads
    data.set_missing(Missing(mode="modality", train="uniform"))  # which differs from epoch to epoch
    state = torch.get_rng_state()
    found = unimodal_inputs(model, data)
    assert torch.equal(torch.get_rng_state(), state) and model.training
    widths = {m: 32 if dim is None else 2 * dim for m, dim in dims.items()}
    assert {m: tuple(vectors.shape) for m, vectors in found.items()} == {m: (70, width) for m, width in widths.items()}
    encoder = TextEncoder(tiny_bert).eval()
    for i in (0, 33, 69):
        for modality, dim in dims.items():
            sequence = batch.sequence(modality)
            steps = sequence.values[i, : int(sequence.lengths[i])]
            if dim is None:
                with torch.no_grad():
                    expected = encoder(Padded.from_arrays([steps.numpy()]))[0].mean(dim=0)
            else:
                expected = torch.cat([steps.mean(dim=0), steps.std(dim=0, correction=0)])
            torch.testing.assert_close(found[modality][i], expected, rtol=0, atol=1e-5)

    if text == "features":
        data.set_missing(Missing(rate=1.0, train="same", draw="reference"))  # which is the same in all epochs
        assert not any(vectors.any() for vectors in unimodal_inputs(model, data).values())
