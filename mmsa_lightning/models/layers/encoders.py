"""Sequence encoders: text in either form, BERT over tokens, LSTM over features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, BertConfig, BertModel

from mmsa_lightning.batch import Padded
from mmsa_lightning.errors import UserError
from mmsa_lightning.models.layers import pretrained
from mmsa_lightning.models.layers.dropout import replace_dropout
from mmsa_lightning.models.layers.packing import NAME, Packing, first_of

Pack = Callable[[Tensor], Tensor]


def _unchanged(j: int, h: Tensor, pack: Pack) -> Tensor:
    return h


class BertEncoder(nn.Module):
    """h = BERT(X), equation (1): the last layer of a fine-tuned BERT, in float32 whatever dtype it was saved in.

    Args:
        name: ``minilm`` for the packaged all-MiniLM-L6-v2, a local directory, or a name on the Hugging Face hub.
        dropout: of BERT's hidden states and attention.

    Attributes:
        checkpointing: whether the inside of a layer is computed again in the backward pass, instead of being kept.

    Raises:
        UserError: the weights cannot be loaded, or are not those of a whole BERT.
        ValueError: a dropout outside [0, 1).
    """

    def __init__(self, name: str, dropout: float = 0.1) -> None:
        super().__init__()
        self.name = name
        self.bert = _load_bert(name, dropout)
        self.width: int = self.bert.config.hidden_size
        self.vocabulary_size: int = self.bert.config.vocab_size
        self.positions: int = self.bert.config.max_position_embeddings
        self.checkpointing = False

    @property
    def embeddings(self) -> list[nn.Module]:
        """What comes before the layers."""
        return [self.bert.embeddings]

    @property
    def layers(self) -> list[nn.Module]:
        """The transformer layers, from the first to the last."""
        return [*self.bert.encoder.layer]

    def forward(self, tokens: Padded) -> Tensor:
        """int64 (batch, time) -> float (batch, time, width); step 0 is [CLS], and padding is undefined."""
        packing = Packing(tokens)
        h = self.bert.embeddings(packing.pack(tokens.values), position_ids=packing.positions)
        for layer in self.layers:
            h = self._run(layer, h, packing=packing)
        return packing.unpack(h)

    def first(self, tokens: Padded, after: Callable[[int, Tensor, Pack], Tensor] = _unchanged) -> Tensor:
        """Only the output of [CLS], which takes less work: int64 (batch, time) -> float (batch, width).

        Args:
            tokens: ids of word pieces.
            after: may change the output of a layer before the next layer reads it. ``after(j, h, pack)`` gets h, the
                output of the embeddings (j = 0) or of the j-th layer, and returns it in the same shape. h holds only
                the steps that :class:`Packing` keeps; after the last layer, only the first step of each sequence.
                ``pack`` reduces a padded (batch, time, ...) in the same way.
        """
        packing = Packing(tokens)
        *layers, last = self.layers
        h = self.bert.embeddings(packing.pack(tokens.values), position_ids=packing.positions)
        for j, layer in enumerate(layers):
            h = self._run(layer, after(j, h, packing.pack), packing=packing)
        h = self._run(first_of, last, after(len(layers), h, packing.pack), packing)
        return after(len(layers) + 1, h, lambda padded: packing.first(packing.pack(padded)))

    def _run(self, layer: Callable[..., Tensor], *given: Any, **options: Any) -> Tensor:
        """The output of a layer; with :attr:`checkpointing` from the same random numbers when it is computed again."""
        return (
            checkpoint(layer, *given, use_reentrant=False, **options)
            if self.checkpointing
            else layer(*given, **options)
        )


def _load_bert(name: str, dropout: float) -> BertModel:
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout} of BERT is not in [0, 1)")
    try:
        pretrained.check_files(name)
        where = pretrained.place(name)
        local = Path(where).is_dir()
        config = AutoConfig.from_pretrained(
            where,
            local_files_only=local,
            trust_remote_code=False,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        if not isinstance(config, BertConfig):
            raise UserError(f"it is a {config.model_type} model, not a BERT")
        loaded: Any = BertModel.from_pretrained(
            where,
            config=config,
            add_pooling_layer=False,
            attn_implementation=NAME,
            dtype=torch.float32,  # whatever it was saved in: for training and to encode a store
            local_files_only=local,
            output_loading_info=True,
        )
        bert, loading = loaded
        _check_weights(bert, loading)
    except UserError as error:
        raise UserError(f"text_encoder={name}: {error}") from error
    except Exception as error:  # for a hub or config problem, transformers and torch raise nearly anything
        raise UserError(
            f"text_encoder={name} cannot be loaded ({_reason(error)}); give a local directory with a BERT, a name on "
            "the hub, or text_encoder=minilm (pip install 'mmsa-lightning[minilm]')"
        ) from error
    replace_dropout(bert)
    return bert.train()  # it comes in evaluation mode, and Lightning keeps the mode that it finds


def _check_weights(bert: BertModel, loading: dict[str, Any]) -> None:
    """Check that a BERT has all its weights, that each has its place, and that all are finite."""
    if loading["missing_keys"]:
        raise UserError(f"it lacks weights of a BERT, such as {sorted(loading['missing_keys'])[0]}")
    if left := sorted(key for key in loading["unexpected_keys"] if "encoder.layer." in key):
        raise UserError(f"its config.json has no place for some of its weights, such as {left[0]}")
    if broken := next((key for key, weight in bert.named_parameters() if not weight.isfinite().all()), None):
        raise UserError(f"some of its weights are infinite or not a number, such as in {broken}")


def _reason(error: Exception) -> str:
    """The cause of an error, in one line."""
    if "ignore_mismatched_sizes" in str(error):
        return "its weights do not have the sizes that its config.json says"
    first = (str(error).strip().splitlines() or [""])[0]
    return first if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {first}"


class Features(nn.Module):
    """Passes on text that comes as features, unchanged; it takes the place of BERT in a model.

    Args:
        dim: feature width.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = dim

    def forward(self, sequence: Padded) -> Tensor:
        """float (batch, time, dim), unchanged."""
        return sequence.values


def text_reader(dim: int | None, text_encoder: str, bert_dropout: float) -> BertEncoder | Features:
    """The module that reads text: a fine-tuned BERT for tokens (``dim`` None), else :class:`Features`."""
    return BertEncoder(text_encoder, bert_dropout) if dim is None else Features(dim)


def nonverbal(dims: Mapping[str, int | None]) -> dict[str, int]:
    """Feature width of each modality except text; only text may come as tokens (None)."""
    return {m: dim for m, dim in dims.items() if m != "text" and dim is not None}


class LSTMEncoder(nn.Module):
    """An LSTM over only the real steps. If bidirectional, it is h = biLSTM(X), equation (2).

    Args:
        dim: feature width.
        hidden: units per direction.
        layers, dropout, bidirectional: as in ``nn.LSTM``.
    """

    def __init__(
        self, dim: int, hidden: int, *, layers: int = 1, dropout: float = 0.0, bidirectional: bool = True
    ) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, hidden, layers, batch_first=True, dropout=dropout, bidirectional=bidirectional)
        self.width = hidden * (2 if bidirectional else 1)

    def forward(self, sequence: Padded) -> Tensor:
        """Every step: float (batch, time, dim) -> float (batch, time, width); zeros on padding."""
        return self.steps_and_last(sequence)[0]

    def last(self, sequence: Padded) -> Tensor:
        """The last layer's final state: float (batch, time, dim) -> float (batch, width), forward before backward."""
        return self.steps_and_last(sequence)[1]

    def steps_and_last(self, sequence: Padded) -> tuple[Tensor, Tensor]:
        """The results of ``forward`` and ``last``, from one pass."""
        with torch.autocast("cpu", enabled=False):  # torch may refuse an LSTM in bfloat16 here: it stays float32
            values = sequence.values.to(next(self.lstm.parameters()).dtype)
            if not self.lstm.bidirectional:
                return self._one_way(values, sequence)
            return (self._each_way if values.device.type == "cpu" else self._both_ways)(values, sequence)

    def _both_ways(self, values: Tensor, sequence: Padded) -> tuple[Tensor, Tensor]:
        # Sorted here: if torch sorted, it would copy the order back from the GPU to unpack.
        order = sequence.lengths.argsort(descending=True)
        there, back = (x.to(values.device) for x in (order, order.argsort()))
        packed = pack_padded_sequence(values.index_select(0, there), sequence.lengths[order], batch_first=True)
        steps, (final, _) = self.lstm(packed)
        padded = pad_packed_sequence(steps, batch_first=True, total_length=values.shape[1])[0]
        return padded.index_select(0, back), torch.cat(list(final[-2:]), dim=-1).index_select(0, back)

    def _each_way(self, values: Tensor, sequence: Padded) -> tuple[Tensor, Tensor]:
        """As :meth:`_both_ways`, but each direction by itself, the second on sequences reversed within their lengths.

        torch's fast kernel for a CPU takes no packed sequences; with them torch goes step by step.
        """
        step, lengths = torch.arange(values.shape[1]), sequence.lengths[:, None]
        turned = torch.where(step < lengths, lengths - 1 - step, step).unsqueeze(-1)  # (batch, time, 1)
        for layer in range(self.lstm.num_layers):
            if layer:
                values = nn.functional.dropout(values, self.lstm.dropout, self.training)
            ahead = self._direction(values, f"l{layer}")
            back = self._direction(values.take_along_dim(turned, 1), f"l{layer}_reverse").take_along_dim(turned, 1)
            values = torch.cat([ahead, back], dim=-1).masked_fill(~sequence.mask.unsqueeze(-1), 0.0)
        return values, torch.cat([ahead[torch.arange(len(ahead)), sequence.lengths - 1], back[:, 0]], dim=-1)

    def _direction(self, values: Tensor, suffix: str) -> Tensor:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [getattr(self.lstm, f"{name}_{suffix}") for name in names]
        start = values.new_zeros(1, len(values), self.lstm.hidden_size)
        return torch.lstm(values, (start, start), weights, True, 1, 0.0, self.training, False, True)[0]

    def _one_way(self, values: Tensor, sequence: Padded) -> tuple[Tensor, Tensor]:
        # No step sees a later one, so padding does no harm: use the faster kernel for sequences of one length.
        steps = self.lstm(values)[0].masked_fill(~sequence.mask.unsqueeze(-1), 0.0)
        return steps, steps[torch.arange(len(steps)), sequence.lengths - 1]
