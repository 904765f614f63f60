"""Families of text encoders: how the layers of each are walked, one after the other.

A new family is one entry of :data:`FAMILIES`. An encoder of any other family is run as a whole, over padded batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from mmsa_lightning.models.layers.packing import FirstOfAll, Packing, RelativeAttention

Inputs = Callable[[Any, Packing | FirstOfAll], dict[str, Any]]


@dataclass(frozen=True)
class Family:
    """The parts of a transformers model that its own ``forward`` runs one after the other.

    Attributes:
        layers: of a model, from the first to the last.
        embed: model, ids (1, tokens), positions (1, tokens) and packing -> what the first layer reads, float
            (1, tokens, width).
        inputs: model and packing -> from a layer and its packing to what the layer is given beside h.
        packs: whether attention takes a :class:`Packing`, so that padding can be left out.
        projections: of keys and values, by which the last layer can be run for the first token alone; None where a
            layer does not allow it.
        finish: model and h -> what the model returns.
        prepare: changes a model that was just loaded, so that it can be walked.
        before: names of what comes before the layers.
        half: whether its layers run under autocast in half precision, too.
    """

    layers: Callable[[Any], list[Any]] = lambda model: [*model.encoder.layer]
    embed: Callable[[Any, Tensor, Tensor, Packing], Tensor] = lambda model, ids, positions, packing: model.embeddings(
        input_ids=ids, position_ids=positions
    )
    inputs: Callable[[Any, Packing], Inputs] = lambda model, packing: lambda layer, packing: {"packing": packing}
    packs: bool = True
    projections: tuple[str, str] | None = ("key", "value")
    finish: Callable[[Any, Tensor], Tensor] = lambda model, h: h
    prepare: Callable[[Any], None] = lambda model: None
    before: tuple[str, ...] = ("embeddings",)
    half: bool = True


def _electra_embed(model: Any, ids: Tensor, positions: Tensor, packing: Packing) -> Tensor:
    h = model.embeddings(input_ids=ids, position_ids=positions)
    return model.embeddings_project(h) if hasattr(model, "embeddings_project") else h


def _albert_layers(model: Any) -> list[Any]:
    """Groups of layers are shared: the same one is there several times."""
    count, groups = model.config.num_hidden_layers, model.encoder.albert_layer_groups
    return [layer for i in range(count) for layer in groups[i * len(groups) // count].albert_layers]


def _albert_embed(model: Any, ids: Tensor, positions: Tensor, packing: Packing) -> Tensor:
    return model.encoder.embedding_hidden_mapping_in(model.embeddings(input_ids=ids, position_ids=positions))


def _mpnet_prepare(model: Any) -> None:
    for layer in model.encoder.layer:
        layer.attention.attn = RelativeAttention(layer.attention.attn)


def _mpnet_inputs(model: Any, packing: Packing) -> Inputs:
    # It asks for the shape and the device alone. The grid is the padded one: each sequence starts at its step 0.
    bias = model.encoder.compute_position_bias(packing.mask[:1])

    def inputs(layer: nn.Module, packing: Packing | FirstOfAll) -> dict[str, Any]:
        seen = bias[:, :, :1] if isinstance(packing, FirstOfAll) else bias
        return {"attention_mask": packing, "position_bias": seen}

    return inputs


def _modernbert_inputs(model: Any, packing: Packing) -> Inputs:
    weight = model.embeddings.tok_embeddings.weight  # for its dtype and device
    rotary = {kind: model.rotary_emb(weight, packing.positions, kind) for kind in set(model.config.layer_types)}
    return lambda layer, packing: {"position_embeddings": rotary[layer.attention_type], "packing": packing}


def _deberta_embed(model: Any, ids: Tensor, positions: Tensor, packing: Packing) -> Tensor:
    return model.embeddings(input_ids=ids, position_ids=positions, mask=packing.mask)


def _deberta_inputs(model: Any, packing: Packing) -> Inputs:
    encoder = model.encoder
    shape = packing.mask.unsqueeze(-1)  # of h, but for its width
    shared = {
        "attention_mask": encoder.get_attention_mask(packing.mask),
        "relative_pos": encoder.get_rel_pos(shape),
        "rel_embeddings": encoder.get_rel_embedding(),
    }
    return lambda layer, packing: shared


_BERT = Family()
_DEBERTA = Family(
    embed=_deberta_embed,
    inputs=_deberta_inputs,
    packs=False,
    projections=None,
    before=("embeddings", "encoder.rel_embeddings", "encoder.LayerNorm"),
)
_DEBERTA_1 = replace(_DEBERTA, half=False)  # masks scores of bfloat16 by a number that only float32 can hold

FAMILIES = {  # by transformers' model_type
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": Family(embed=_electra_embed, before=("embeddings", "embeddings_project")),
    "mpnet": Family(
        inputs=_mpnet_inputs, prepare=_mpnet_prepare, before=("embeddings", "encoder.relative_attention_bias")
    ),
    "distilbert": Family(layers=lambda model: [*model.transformer.layer], projections=("k_lin", "v_lin")),
    "albert": Family(
        layers=_albert_layers, embed=_albert_embed, before=("embeddings", "encoder.embedding_hidden_mapping_in")
    ),
    "modernbert": Family(
        layers=lambda model: [*model.layers],
        embed=lambda model, ids, positions, packing: model.embeddings(input_ids=ids),
        inputs=_modernbert_inputs,
        projections=None,
        finish=lambda model, h: model.final_norm(h),
    ),
    "deberta": _DEBERTA_1,
    "deberta-v2": _DEBERTA,
}


def family_of(model: Any) -> Family | None:
    """The family that a model of transformers is of; None where it has to be run as a whole."""
    if getattr(getattr(model, "encoder", None), "conv", None) is not None:  # DeBERTa's, beside the first layer
        return None
    return FAMILIES.get(model.config.model_type)
