"""Sequence encoders: BERT over tokens, LSTM over features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import AutoConfig, BertConfig, BertModel

from mmsa_lightning import minilm
from mmsa_lightning.batch import Padded
from mmsa_lightning.errors import UserError


class BertEncoder(nn.Module):
    """h = BERT(X), equation (1): the last layer of a fine-tuned BERT.

    Args:
        name: ``minilm`` for the packaged all-MiniLM-L6-v2, a local directory, or a name on the Hugging Face hub.
        dropout: of BERT's hidden states and attention.

    Raises:
        UserError: the weights cannot be had, or are not a BERT's.
        ValueError: a dropout outside [0, 1).
    """

    def __init__(self, name: str, dropout: float = 0.1) -> None:
        super().__init__()
        self.bert = _load_bert(name, dropout)
        self.width: int = self.bert.config.hidden_size
        self.vocabulary_size: int = self.bert.config.vocab_size
        self.positions: int = self.bert.config.max_position_embeddings

    def forward(self, tokens: Padded) -> Tensor:
        """int64 (batch, time) -> float (batch, time, width); step 0 is [CLS]."""
        return self.bert(input_ids=tokens.values, attention_mask=tokens.mask.long()).last_hidden_state


def _load_bert(name: str, dropout: float) -> BertModel:
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout} of BERT is not in [0, 1)")
    where = minilm.directory() if name == "minilm" else name
    options = {
        "local_files_only": Path(where).is_dir(),
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    try:
        config = AutoConfig.from_pretrained(where, **options)
        if not isinstance(config, BertConfig):
            raise UserError(f"text_encoder={name} is a {config.model_type} model, not a BERT")
        loaded: Any = BertModel.from_pretrained(
            where,
            config=config,
            add_pooling_layer=False,
            local_files_only=Path(where).is_dir(),
            output_loading_info=True,
        )
        bert, loading = loaded
    except (OSError, ValueError) as error:
        raise UserError(
            f"text_encoder={name} cannot be loaded from a local directory or the hub; "
            "give a directory with a BERT model, or text_encoder=minilm (pip install 'mmsa-lightning[minilm]')"
        ) from error
    if loading["missing_keys"]:
        raise UserError(f"text_encoder={name} lacks weights of a BERT, such as {sorted(loading['missing_keys'])[0]}")
    return bert.train()  # it comes in evaluation mode, and Lightning keeps the mode that it finds


class LSTMEncoder(nn.Module):
    """h = biLSTM(X), equation (2), over the real steps alone; all steps are kept.

    Args:
        dim: feature width.
        hidden: units a direction.
        layers, dropout: as ``nn.LSTM``'s.
    """

    def __init__(self, dim: int, hidden: int, *, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, hidden, layers, batch_first=True, dropout=dropout, bidirectional=True)
        self.width = hidden * 2

    def forward(self, sequence: Padded) -> Tensor:
        """float (batch, time, dim) -> float (batch, time, width); zeros on padding."""
        packed = pack_padded_sequence(sequence.values, sequence.lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=sequence.values.shape[1])[0]
