from __future__ import annotations

import pytest
from transformers import BertConfig, BertModel

from mmsa_lightning.cli import main
from mmsa_lightning.experiment.catalogue import Entry, bert_base_parameters, entries


@pytest.fixture(scope="module")
def found() -> dict[str, Entry]:
    return {entry.name: entry for entry in entries()}


def test_the_papers_model_and_its_eight_rivals(found: dict[str, Entry]) -> None:
    assert set(found) == {
        "interactive_attention",
        *("tfn", "lmf", "mfn", "raven", "mult", "misa", "mag_bert", "self_mm"),
    }
    assert {name for name, entry in found.items() if entry.text == "features"} == {"tfn", "lmf", "mfn", "raven", "mult"}
    assert {name for name, entry in found.items() if entry.aligned} == {"interactive_attention", "mfn", "mag_bert"}
    assert "Liu et al., ACL 2018" in found["lmf"].paper
    assert all(entry.paper.endswith(")") for entry in found.values())


def test_parameters_at_mosis_published_sizes(found: dict[str, Entry]) -> None:
    """Self-MM, thuiar/MMSA's MOSI sizes, counted by hand: two LSTMs and their projections, and four heads."""

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + outputs

    def lstm(inputs: int, hidden: int) -> int:
        return 4 * (inputs * hidden + hidden * hidden + 2 * hidden)

    def head(inputs: int, hidden: int) -> int:
        return linear(inputs, hidden) + linear(hidden, hidden) + linear(hidden, 1)

    audio, vision = lstm(5, 16) + linear(16, 16), lstm(20, 32) + linear(32, 32)
    heads = head(768 + 16 + 32, 128) + head(768, 32) + head(16, 16) + head(32, 32)
    assert found["self_mm"].parameters == audio + vision + heads


def test_bert_base_is_counted_without_its_pooler() -> None:
    bert = BertModel(BertConfig(num_hidden_layers=1), add_pooling_layer=False)
    layer = sum(p.numel() for p in bert.encoder.layer[0].parameters())
    assert bert_base_parameters() == sum(p.numel() for p in bert.parameters()) + 11 * layer


@pytest.mark.slow
def test_the_command_lists_them_all(found: dict[str, Entry], capsys: pytest.CaptureFixture[str]) -> None:
    main(["models"])
    out = capsys.readouterr().out
    for name, entry in found.items():
        (line,) = [line for line in out.splitlines() if line.startswith(f"{name} ")]
        assert f"{entry.parameters:,}" in line and entry.text in line
