"""How a text encoder is fine-tuned: which of its parameters train, LoRA, and gradient checkpointing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmsa_lightning.annotations import fits
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers.families import FAMILIES
from mmsa_lightning.models.layers.text_encoder import TextEncoder

# Every parameter trains, and activations are kept for the backward pass.
UNCHANGED: dict[str, Any] = {"freeze": "none", "lora": None, "gradient_checkpointing": False}
WORDS = ("none", "embeddings", "all")  # for freeze
DIGEST = "frozen_sha256"  # in a state, in place of the parameters that do not train


def check(options: Mapping[str, Any]) -> None:
    """Check the ``encoder`` part of a config, as far as it does not depend on the encoder.

    Raises:
        ValueError: what is wrong with it.
    """
    if set(options) != set(UNCHANGED):
        raise ValueError(f"encoder holds {', '.join(options)}: give freeze, lora and gradient_checkpointing")
    freeze, lora = options["freeze"], options["lora"]
    if freeze not in WORDS and not (fits(freeze, int) and freeze >= 1):
        raise ValueError(f"encoder.freeze={freeze}: give {', '.join(WORDS)} or a number of layers from 1")
    if lora is not None and not _is_lora(lora):
        raise ValueError(
            f"encoder.lora={lora}: give null, or rank and alpha from 1 and the names of modules, such as "
            "{rank: 8, alpha: 16, modules: [query, value]}"
        )
    if lora is not None and freeze != "none":
        raise ValueError(f"encoder.freeze={freeze} together with encoder.lora, which freezes all by itself: give one")
    if not fits(options["gradient_checkpointing"], bool):
        raise ValueError(f"encoder.gradient_checkpointing={options['gradient_checkpointing']}: give true or false")


def _is_lora(lora: Any) -> bool:
    hints = {"rank": int, "alpha": int, "modules": list[str]}
    return (
        fits(lora, dict[str, Any])
        and lora.keys() == hints.keys()
        and all(fits(lora[name], hint) for name, hint in hints.items())
        and min(lora["rank"], lora["alpha"], len(lora["modules"])) >= 1
    )


def adapt(
    encoder: TextEncoder, *, freeze: str | int, lora: Mapping[str, Any] | None, gradient_checkpointing: bool
) -> None:
    """Change how an encoder trains. If parameters of it no longer do, its state holds their SHA-256 instead of them.

    Dropout stays on in what is frozen. Random numbers are drawn for LoRA alone.

    Args:
        encoder: with pretrained weights; it is changed in place.
        freeze: ``none``; ``embeddings``; ``all``; or n, the embeddings and the first n layers.
        lora: ``rank``, ``alpha`` and ``modules``, the names of linear layers within the transformer layers, or the last
            parts of their names. What is added to these is all that trains.
        gradient_checkpointing: compute the inside of a layer again in the backward pass.

    Raises:
        ValueError: the options are not those of :func:`check`, or the encoder has no such layers or modules.
        UserError: peft is not installed.
    """
    check({"freeze": freeze, "lora": lora, "gradient_checkpointing": gradient_checkpointing})
    _check_walked(
        encoder,
        {"freeze": freeze not in ("none", "all"), "lora": lora, "gradient_checkpointing": gradient_checkpointing},
    )
    encoder.checkpointing = gradient_checkpointing
    for module in _frozen(encoder, freeze):
        module.requires_grad_(False)
    if lora is not None:
        _add_lora(encoder, **lora)
    _leave_out_frozen(encoder)


def _check_walked(encoder: TextEncoder, wanted: Mapping[str, Any]) -> None:
    """Check that an encoder has layers that can be told apart, where anything ``wanted`` needs them."""
    if not encoder.layers and (first := next((name for name, value in wanted.items() if value), None)):
        raise ValueError(
            f"encoder.{first}: the layers of a {encoder.bert.config.model_type} model cannot be walked; leave it out, "
            f"or choose a text encoder of one of {', '.join(FAMILIES)}"
        )


def _frozen(encoder: TextEncoder, freeze: str | int) -> list[nn.Module]:
    if freeze in ("none", "all"):
        return [encoder] if freeze == "all" else []
    layers, n = encoder.layers, freeze if isinstance(freeze, int) else 0
    if n > len(layers):
        raise ValueError(f"encoder.freeze={n}: this encoder has {len(layers)} layers")
    if any(layer is other for layer in layers[:n] for other in layers[n:]):
        raise ValueError(f"encoder.freeze={n}: the layers of this encoder share their weights: give {', '.join(WORDS)}")
    return [*encoder.embeddings, *layers[:n]]


def _add_lora(encoder: TextEncoder, rank: int, alpha: int, modules: Sequence[str]) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError(f"encoder.lora needs peft ({error}): pip install 'mmsa-lightning[lora]'") from error
    inside = {id(part) for layer in encoder.layers for part in layer.modules() if isinstance(part, nn.Linear)}
    linear = [name for name, part in encoder.bert.named_modules() if id(part) in inside]
    for module in modules:
        if not any(f".{name}".endswith(f".{module}") for name in linear):
            known = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in linear))
            raise ValueError(f"encoder.lora.modules: the layers of this encoder have no {module}; they have {known}")
    targets = [name for name in linear if f".{name}".endswith(tuple(f".{module}" for module in modules))]
    # It freezes all else of the encoder.
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets), encoder.bert)


def merge_lora(encoder: TextEncoder) -> None:
    """Add what LoRA learnt to the weights that it belongs to, and take it away: W + alpha / rank · B A."""
    for name, module in list(encoder.bert.named_modules()):
        if hasattr(module, "lora_A"):
            module.merge()
            encoder.bert.set_submodule(name, module.get_base_layer())


def _leave_out_frozen(encoder: TextEncoder) -> None:
    """Have the encoder's state hold what trains, and of the rest a digest, which loading compares."""
    frozen = [name for name, p in encoder.named_parameters(remove_duplicate=False) if not p.requires_grad]
    if not frozen:
        return
    digest = _digest([encoder.get_parameter(name) for name in frozen])

    def leave_out(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
        for name in frozen:
            del state[prefix + name]
        state[prefix + DIGEST] = digest

    def fill_in(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        found = state.pop(prefix + DIGEST, None)
        if found is None:  # a state that holds everything
            return
        if not torch.equal(found.cpu(), digest):
            raise UserError(
                "what is frozen of the text encoder is left out of the checkpoint, and the encoder that is here has "
                "other weights there: put back the one that the run began with"
            )
        state.update({prefix + name: module.get_parameter(name).detach() for name in frozen})

    encoder.register_state_dict_post_hook(leave_out)
    encoder.register_load_state_dict_pre_hook(fill_in)


def _digest(parameters: Sequence[Tensor]) -> Tensor:
    """SHA-256 of the values, as uint8 (32,), which ``torch.load`` reads with weights alone."""
    sha256 = hashlib.sha256()
    for parameter in parameters:
        sha256.update(np.ascontiguousarray(parameter.detach().numpy()).data)
    return torch.tensor(list(sha256.digest()), dtype=torch.uint8)
