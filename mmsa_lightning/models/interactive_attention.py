"""Multimodal Emotion Analysis Model based on Interactive Attention Mechanism (Zhou & Li).

The paper has no released code. Where its words, formulas and shapes disagree, an argument chooses between the readings;
``docs/equations.md`` lists them and says which one is the default. The paper says little about the data. Here audio and
vision are standardised over the train split (``data.standardize``), and a batch holds utterances of similar lengths
(``data.order``).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.layers.alignment import check_aligned
from mmsa_lightning.models.layers.attention import attention_scores, attention_weights
from mmsa_lightning.models.layers.dropout import Dropout
from mmsa_lightning.models.layers.encoders import LSTMEncoder
from mmsa_lightning.models.layers.pooling import Pooling
from mmsa_lightning.models.layers.precision import full
from mmsa_lightning.models.layers.text_encoder import TextEncoder
from mmsa_lightning.models.output import ModelOutput


class InteractiveAttention(nn.Module):
    """One encoder for each modality, attention between modalities for the main task, and attention within a modality
    for its auxiliary task. Works with any non-empty subset of text, audio and vision.

    Args:
        dims: feature width of each modality that is read; None for text as tokens, which BERT encodes (1). Features go
            through a bidirectional LSTM (2).
        text_encoder: which BERT; see :class:`TextEncoder`.
        bert_dropout, lstm_dropout: of the encoders. An LSTM of one layer has no dropout.
        lstm_hidden: LSTM units per direction, for each modality.
        lstm_layers: layers of each LSTM.
        width: d, the common width of all modalities for the attention between them (section 2.6).
        fusion_width: width of F*, (14).
        auxiliary_width: width of the hidden layer of each auxiliary head.
        fusion_dropout: on F.
        auxiliary_dropout: on each auxiliary head's input.
        bi: attention between modalities, (6)-(12). Off: F = [h_t, h_a, h_v].
        uni: attention within a modality, (3)-(5), for the auxiliary heads. Off: these heads read h_n.
        values: what the weights of (10)-(11) multiply. ``target``: the target's own steps, as printed, which needs
            aligned data; ``source``: the other modality's steps, as in cross-attention.
        pair_fusion: how (12) joins what a modality reads from the two others: ``concat`` or ``sum``.
        pooling: how each sequence is pooled before (13): ``mean``, ``cls`` or ``attention``.
        level: ``token`` attends over steps; ``utterance`` pools first, and M is the outer product of two vectors.

    Raises:
        ValueError: an unknown ``values``, ``pair_fusion``, ``pooling`` or ``level``; no modality; a width below 1.
    """

    def __init__(
        self,
        dims: Mapping[str, int | None],
        *,
        text_encoder: str,
        bert_dropout: float,
        lstm_hidden: Mapping[str, int],
        lstm_layers: int,
        lstm_dropout: float,
        width: int,
        fusion_width: int,
        auxiliary_width: Mapping[str, int],
        fusion_dropout: float,
        auxiliary_dropout: Mapping[str, float],
        bi: bool,
        uni: bool,
        values: str,
        pair_fusion: str,
        pooling: str,
        level: str,
    ) -> None:
        super().__init__()
        _choose("values", values, ("target", "source"))
        _choose("pair_fusion", pair_fusion, ("concat", "sum"))
        _choose("level", level, ("token", "utterance"))
        if not dims:
            raise ValueError("at least one modality is needed")
        if min(width, fusion_width, lstm_layers, *lstm_hidden.values(), *auxiliary_width.values()) < 1:
            raise ValueError("every width and the number of layers must be at least 1")
        self.modalities = list(dims)
        self.bi = bi and len(dims) > 1
        self.uni = uni
        self.values = values
        self.pair_fusion = pair_fusion
        self.level = level

        self.encoders = nn.ModuleDict(
            {
                m: TextEncoder(text_encoder, bert_dropout)
                if dim is None
                else LSTMEncoder(dim, lstm_hidden[m], layers=lstm_layers, dropout=lstm_dropout)
                for m, dim in dims.items()
            }
        )
        encoded = {m: int(self.encoders[m].width) for m in dims}  # type: ignore[arg-type]
        self.project = nn.ModuleDict({m: nn.Linear(encoded[m], width) for m in dims})

        pairs = (len(dims) - 1 if pair_fusion == "concat" else 1) if self.bi else 0
        self.pool_projected = nn.ModuleDict({m: Pooling(pooling, width) for m in dims})
        attends_steps = self.bi and level == "token"
        self.pool_attended = nn.ModuleDict({m: Pooling(pooling, pairs * width) for m in dims} if attends_steps else {})
        self.fusion = _hidden_layer(len(dims) * (1 + pairs) * width, fusion_width, fusion_dropout)
        self.head = nn.Linear(fusion_width, 1)

        self.pool_auxiliary = nn.ModuleDict({m: Pooling(pooling, encoded[m]) for m in dims})
        self.auxiliary = nn.ModuleDict(
            {m: _hidden_layer(encoded[m], auxiliary_width[m], auxiliary_dropout[m]) for m in dims}
        )
        self.auxiliary_head = nn.ModuleDict({m: nn.Linear(auxiliary_width[m], 1) for m in dims})
        self.feature_widths = {"fusion": fusion_width} | {m: auxiliary_width[m] for m in dims}

    training_only = ("pool_auxiliary", "auxiliary", "auxiliary_head")  # modules that a prediction does not need

    @property
    def needs_alignment(self) -> bool:
        """Whether every modality must have the same steps."""
        return self.bi and self.values == "target" and self.level == "token"

    @property
    def attends(self) -> bool:
        """Whether the model has attention weights over steps."""
        return self.level == "token" and (self.bi or self.uni)

    def forward(self, batch: Batch, *, return_attention: bool = False) -> ModelOutput:
        """Predict the sentiment of each utterance; in training also that of each auxiliary task.

        Args:
            batch: has every modality in ``dims``.
            return_attention: also return A of (4) as ``text`` and of (8)-(9) as ``text<-audio``, and so on.

        Raises:
            ValueError: modalities differ in length where the model needs them aligned.
        """
        if self.needs_alignment:
            reason = "values=target needs aligned modalities; use values=source"
            check_aligned(batch, self.modalities, reason)
        encoded = {m: full(self.encoders[m](batch.sequence(m))) for m in self.modalities}  # (batch, time, width_m)
        masks = {m: batch.sequence(m).mask for m in self.modalities}
        # Scores that nothing scales are large: half precision would round away what softmax tells apart. And all that
        # comes after the encoders is too little work for half precision to gain anything.
        with torch.autocast(masks[self.modalities[0]].device.type, enabled=False):
            return self._read(encoded, masks, return_attention)

    def _read(self, encoded: dict[str, Tensor], masks: dict[str, Tensor], return_attention: bool) -> ModelOutput:
        attention: dict[str, Tensor] = {}
        fusion = self._fuse(encoded, masks, attention)
        output = ModelOutput(self.head(fusion).squeeze(-1), features={"fusion": fusion}, attention=attention)
        if self.training:
            for m in self.modalities:
                hidden = self._auxiliary_hidden(m, encoded[m], masks[m], attention)
                output.features[m] = hidden
                output.tasks[m] = self.auxiliary_head[m](hidden).squeeze(-1)
        elif return_attention and self.uni and self.level == "token":
            for m in self.modalities:
                attention[m] = attention_weights(attention_scores(encoded[m], encoded[m]), masks[m])
        if not return_attention:
            output.attention = {}
        return output

    def _fuse(self, encoded: dict[str, Tensor], masks: dict[str, Tensor], attention: dict[str, Tensor]) -> Tensor:
        """F* of (6)-(14): (batch, fusion_width)."""
        projected = {m: self.project[m](encoded[m]) for m in self.modalities}  # (batch, time, d)
        pooled = {m: self.pool_projected[m](projected[m], masks[m]) for m in self.modalities}  # (batch, d)
        parts = list(pooled.values())
        if self.bi and self.level == "token":
            self._weigh(projected, masks, attention)
            parts += [self._pool_attended(m, projected, masks[m], attention) for m in self.modalities]
        elif self.bi:
            vectors = {m: v.unsqueeze(-1) for m, v in pooled.items()}  # (batch, d, 1): M is d x d
            whole = {m: torch.ones_like(v, dtype=torch.bool) for m, v in pooled.items()}
            self._weigh(vectors, whole, attention)
            for m in self.modalities:
                read = [weights @ values for weights, values in self._reads(m, vectors, attention)]
                parts.append(self._join(read).transpose(1, 2).flatten(1))
        return self.fusion(torch.cat(parts, dim=-1))

    def _weigh(self, h: dict[str, Tensor], masks: dict[str, Tensor], attention: dict[str, Tensor]) -> None:
        """Put A of (6)-(9) in ``attention`` as ``text<-audio``, and so on. The scores of a pair serve both ways."""
        for one, other in combinations(self.modalities, 2):
            scores = attention_scores(h[one], h[other])
            attention[f"{one}<-{other}"] = attention_weights(scores, masks[other])
            attention[f"{other}<-{one}"] = attention_weights(scores.transpose(1, 2), masks[one])

    def _reads(self, target: str, h: dict[str, Tensor], attention: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """For each other modality A, and what it multiplies in (10)-(11)."""
        others = [m for m in self.modalities if m != target]
        return [(attention[f"{target}<-{m}"], h[target] if self.values == "target" else h[m]) for m in others]

    def _join(self, read: list[Tensor]) -> Tensor:
        """(12): (..., d) from each other modality -> (..., d) or, concatenated, (..., others * d)."""
        return torch.cat(read, dim=-1) if self.pair_fusion == "concat" else torch.stack(read).sum(dim=0)

    def _pool_attended(self, target: str, h: dict[str, Tensor], mask: Tensor, attention: dict[str, Tensor]) -> Tensor:
        """H of (10)-(12) for one target, pooled: (batch, d) or, concatenated, (batch, others * d)."""
        pool, reads = self.pool_attended[target], self._reads(target, h, attention)
        if pool.score is None:  # no step's weight depends on H, so what is joined may be pooled before
            return self._join([pool.of_attended(weights, values, mask) for weights, values in reads])
        return pool(self._join([weights @ values for weights, values in reads]), mask)

    def _auxiliary_hidden(self, m: str, h: Tensor, mask: Tensor, attention: dict[str, Tensor]) -> Tensor:
        """The hidden layer of one auxiliary head, (3)-(5) and section 2.6: (batch, auxiliary_width)."""
        pool = self.pool_auxiliary[m]
        assert isinstance(pool, Pooling)
        if not self.uni:
            return self.auxiliary[m](pool(h, mask))
        if self.level == "token":
            attention[m] = attention_weights(attention_scores(h, h), mask)  # (batch, time, time)
            return self.auxiliary[m](pool.of_attended(attention[m], h, mask))
        vector = pool(h, mask).unsqueeze(-1)  # (batch, width, 1)
        whole = torch.ones_like(vector[..., 0], dtype=torch.bool)
        attention[m] = attention_weights(attention_scores(vector, vector), whole)
        return self.auxiliary[m]((attention[m] @ vector).squeeze(-1))


def _hidden_layer(inputs: int, width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(Dropout(dropout), nn.Linear(inputs, width), nn.ReLU())


def _choose(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}={value!r}: choose one of {known}")
