"""The text encoder that is fine-tuned: any bidirectional encoder of transformers, read in one way by all models."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import MODEL_FOR_MASKED_LM_MAPPING, MODEL_MAPPING, AutoConfig

from mmsa_lightning.batch import Padded
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers import pretrained
from mmsa_lightning.models.layers.dropout import replace_dropout
from mmsa_lightning.models.layers.families import FAMILIES, family_of
from mmsa_lightning.models.layers.packing import NAME, FirstOfAll, Packing

Pack = Callable[[Tensor], Tensor]
LAYER = re.compile(r"(^|\.)(layers?|albert_layers)\.\d+\.")  # of a weight that lies in one
DROPOUT = re.compile(r"^(?!classifier|pooler|summary).*dropout(_prob)?$")  # of a config's fields

_weights = ContextVar("weights", default=True)  # whether an encoder is made with its pretrained weights


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """In here a :class:`TextEncoder` reads only the configuration of its local directory; a state fills it later."""
    token = _weights.set(False)
    try:
        yield
    finally:
        _weights.reset(token)


def _unchanged(j: int, h: Tensor, pack: Pack) -> Tensor:
    return h


class TextEncoder(nn.Module):
    """h = BERT(X), equation (1): the last layer of a fine-tuned encoder, in float32 whatever dtype it was saved in.

    It may be of any family of :data:`FAMILIES`, whose layers are walked one by one, or another model of transformers
    that is trained on masked language, which runs as a whole.

    Args:
        name: ``minilm`` for the packaged all-MiniLM-L6-v2, ``mpnet`` for the packaged all-mpnet-base-v2, a local
            directory (one of sentence-transformers, too), or a name on the Hugging Face hub.
        dropout: of its hidden states and attention.

    Attributes:
        bert: the model of transformers. Its parameters form the group ``bert`` of Table 2, whatever its family.
        layers: those that are walked, from the first to the last, in ALBERT the same ones several times; empty where
            the model runs as a whole.
        embeddings: what comes before them.
        checkpointing: forget what is inside the layers, and compute it again in the backward pass.

    Raises:
        UserError: the weights cannot be loaded, are not whole, or are not those of a bidirectional encoder.
        ValueError: a dropout outside [0, 1).
    """

    def __init__(self, name: str, dropout: float = 0.1) -> None:
        super().__init__()
        self.name = name
        self.bert = _load(name, dropout)
        self.family = family_of(self.bert)
        if self.family:
            self.family.prepare(self.bert)
        replace_dropout(self.bert)
        config = self.bert.config
        self.width: int = config.hidden_size
        self.vocabulary_size: int = config.vocab_size
        self.first_position = _first_position(self.bert)
        self.positions: int = config.max_position_embeddings - self.first_position
        self.checkpointing = False
        if self.family is None and _weights.get():
            _check_padding(self)

    @property
    def layers(self) -> list[nn.Module]:
        return self.family.layers(self.bert) if self.family else []

    @property
    def embeddings(self) -> list[nn.Module]:
        names = self.family.before if self.family else ()
        own = dict(self.bert.named_modules())
        return [own[name] for name in names if name in own] or [self.bert.get_input_embeddings()]

    def forward(self, tokens: Padded) -> Tensor:
        """int64 (batch, time) -> float (batch, time, width); step 0 is [CLS], and padding is undefined."""
        if self.family is None:
            return self._whole(tokens)
        packing, h, run = self._begin(tokens)
        for layer in self.layers:
            h = run(layer, h, packing)
        return packing.unpack(self.family.finish(self.bert, h))

    def first(self, tokens: Padded, after: Callable[[int, Tensor, Pack], Tensor] = _unchanged) -> Tensor:
        """Only the output of the first token, [CLS], with less work: int64 (batch, time) -> float (batch, width).

        Args:
            tokens: ids of word pieces.
            after: may change the output of a layer before the next layer reads it. ``after(j, h, pack)`` gets h, the
                output of the embeddings (j = 0) or of the j-th layer, and returns it in the same shape. h holds only
                the steps that :class:`Packing` keeps; after the last layer, only the first step of each sequence.
                ``pack`` reduces a padded (batch, time, ...) in the same way. It needs layers that are walked.
        """
        if self.family is None:
            assert after is _unchanged
            return self._whole(tokens)[:, 0]
        packing, h, run = self._begin(tokens)
        *layers, last = self.layers
        for j, layer in enumerate(layers):
            h = run(layer, after(j, h, packing.pack), packing)
        h = after(len(layers), h, packing.pack)
        if self.family.projections:
            h = run(last, packing.first(h).unsqueeze(1), FirstOfAll(packing, h, self.family.projections)).squeeze(1)
        else:
            h = packing.first(run(last, h, packing))
        h = after(len(layers) + 1, h, lambda padded: packing.first(packing.pack(padded)))
        return self.family.finish(self.bert, h)

    def _begin(self, tokens: Padded) -> tuple[Packing, Tensor, Callable[..., Tensor]]:
        """The packing of a batch, what the first layer reads, and how a layer is run."""
        assert self.family is not None
        family = self.family
        packing = Packing(tokens, padded=not self.family.packs)
        h = self.family.embed(self.bert, packing.pack(tokens.values), packing.positions + self.first_position, packing)
        inputs = self.family.inputs(self.bert, packing)

        def run(layer: Any, h: Tensor, packing: Packing | FirstOfAll) -> Tensor:
            given = inputs(layer, packing)
            with contextlib.nullcontext() if family.half else torch.autocast(h.device.type, enabled=False):
                if self.checkpointing and torch.is_grad_enabled():
                    h = checkpoint(layer, h, use_reentrant=False, **given)
                else:
                    h = layer(h, **given)
            return h[0] if isinstance(h, tuple) else h

        return packing, h, run

    def _whole(self, tokens: Padded) -> Tensor:
        ids = tokens.values.masked_fill(~tokens.mask, self.bert.config.pad_token_id or 0)
        return self.bert(input_ids=ids, attention_mask=tokens.mask.long()).last_hidden_state


def _load(name: str, dropout: float) -> Any:
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout} of the text encoder is not in [0, 1)")
    try:
        where = pretrained.place(name)
        local = Path(where).is_dir() or not _weights.get()
        if _weights.get():
            pretrained.check_files(name)
        config = AutoConfig.from_pretrained(where, local_files_only=local, trust_remote_code=False)
        kind = config.model_type
        decodes = config.is_encoder_decoder or getattr(config, "is_decoder", False)
        if type(config) not in MODEL_FOR_MASKED_LM_MAPPING or decodes:
            raise UserError(f"it is a {kind} model, not a bidirectional encoder such as {', '.join(FAMILIES)}")
        config._attn_implementation = None  # which may name code on the hub
        for field in [field for field in vars(config) if DROPOUT.match(field)]:
            setattr(config, field, dropout)
        model_class: Any = MODEL_MAPPING[type(config)]
        family = FAMILIES.get(kind)
        options: dict[str, Any] = {}
        if "add_pooling_layer" in inspect.signature(model_class.__init__).parameters:
            options["add_pooling_layer"] = False
        if family and family.packs and model_class._supports_attention_backend:
            options["attn_implementation"] = NAME
        if not _weights.get():
            config.dtype = torch.float32
            return model_class._from_config(config, **options).train()
        loaded: Any = model_class.from_pretrained(
            where,
            config=config,
            dtype=torch.float32,  # whatever it was saved in: for training and to encode a store
            local_files_only=local,
            output_loading_info=True,
            **options,
        )
        model, loading = loaded
        _check_weights(model, loading)
    except UserError as error:
        raise UserError(f"text_encoder={name}: {error}") from error
    except Exception as error:  # for a hub or config problem, transformers and torch raise nearly anything
        raise UserError(
            f"text_encoder={name} cannot be loaded ({_reason(error)}); give a local directory with an encoder, a name "
            "on the hub, or text_encoder=minilm (pip install 'mmsa-lightning[minilm]')"
        ) from error
    return model.train()  # it comes in evaluation mode, and Lightning keeps the mode that it finds


def _first_position(model: Any) -> int:
    """Of a sequence's first token: RoBERTa and its kin count positions from behind that of padding."""
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else padding + 1


def _check_weights(model: Any, loading: dict[str, Any]) -> None:
    """Check that a model has all its weights, that each has its place, and that all are finite."""
    kind = model.config.model_type
    if missing := sorted(key for key in loading["missing_keys"] if "pooler" not in key):
        raise UserError(f"it lacks weights of a {kind} model, such as {missing[0]}")
    if left := sorted(key for key in loading["unexpected_keys"] if LAYER.search(key)):
        raise UserError(f"its config.json has no place for some of its weights, such as {left[0]}")
    if broken := next((key for key, weight in model.named_parameters() if not weight.isfinite().all()), None):
        raise UserError(f"some of its weights are infinite or not a number, such as in {broken}")


@torch.no_grad()
def _check_padding(encoder: TextEncoder) -> None:
    """Check that a model that runs as a whole gives a vector for each token, and does not read padding."""
    kind, ids = encoder.bert.config.model_type, torch.tensor([[5, 6, 7]])
    lengths = torch.tensor([3])
    encoder.eval()
    try:
        found = [
            encoder._whole(Padded(torch.nn.functional.pad(ids, (0, n)), torch.arange(3 + n)[None] < 3, lengths))
            for n in (0, 2)
        ]
        same = found[0].shape == (1, 3, encoder.width) and torch.allclose(found[0], found[1][:, :3], atol=1e-4)
    except Exception as error:  # a family may want other inputs
        raise UserError(f"text_encoder={encoder.name}: a {kind} model cannot read tokens alone ({error})") from error
    finally:
        encoder.train()
    if not same:
        raise UserError(f"text_encoder={encoder.name}: the output of a {kind} model depends on padding")


def _reason(error: Exception) -> str:
    """The cause of an error, in one line."""
    if "ignore_mismatched_sizes" in str(error):
        return "its weights do not have the sizes that its config.json says"
    first = (str(error).strip().splitlines() or [""])[0]
    return first if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {first}"
