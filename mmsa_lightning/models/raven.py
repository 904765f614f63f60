"""Recurrent Attended Variation Embedding Network (Wang et al., AAAI 2019).

The audio and vision of a word shift the word's vector; an LSTM reads the shifted words. Original:
https://github.com/victorywys/RAVEN.

Differences from the original:

- Written from the paper. The released code cuts the non-verbal inputs and the shift out of the gradient graph
  (``.data``), so its non-verbal networks are never trained; here gradients reach them.
- α is the paper's, min(β ||e|| / ||h||, 1), and the gates have the paper's sigmoid. The released code divides by
  max(||h||, 1) and has no sigmoid. Its batch normalisation is left out, because with it a prediction depends on the
  rest of the batch. Its linear layer before each LSTM is left out, because an LSTM begins with a linear layer of its
  own.
- The frames of an utterance are divided evenly among its words (:func:`word_frames`), because published feature files
  have no word timings. In word-aligned data each word gets exactly its own frame.
- Frames are neither averaged to 20 per second nor cut at 20 per word, and no LSTM reads padding.
- One of audio and vision is enough. Text may be BERT's hidden states, [CLS] and [SEP] included, instead of word
  vectors.
- Audio and vision are standardised over the train split (``data.standardize``). The original reads them as they
  are, through its batch normalisation.
- A batch holds utterances of similar lengths, in a random order; the original draws them uniformly, as
  ``data.order=uniform`` does.
- Training stops early, by ``patience``; the original always trains its 500 epochs. It also leaves out a batch of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mmsa_lightning.batch import Batch, Padded
from mmsa_lightning.models.layers.dropout import Dropout
from mmsa_lightning.models.layers.encoders import LSTMEncoder, text_reader
from mmsa_lightning.models.layers.shift import shift_scale, shifting
from mmsa_lightning.models.output import ModelOutput


class RAVEN(nn.Module):
    """Non-verbal sub-networks, gated modality-mixing network and multimodal shifting. Needs text, and at least one of
    audio and vision, aligned or not.

    Args:
        dims: feature width of each modality that is read; None for text as tokens, which BERT encodes.
        text_encoder, bert_dropout: see :class:`TextEncoder`.
        hidden: LSTM units: ``audio`` and ``vision`` over a word's frames, ``text`` over the shifted words.
        shift_weight: β, the largest length of a shift, as a share of the length of the word's vector.
        dropout: on the frames and on the shifted words.

    Raises:
        ValueError: no text, or nothing but text; a size below 1; a ``shift_weight`` that is not above 0.
    """

    def __init__(
        self,
        dims: Mapping[str, int | None],
        *,
        text_encoder: str,
        bert_dropout: float,
        hidden: Mapping[str, int],
        shift_weight: float,
        dropout: float,
    ) -> None:
        super().__init__()
        nonverbal = shifting(dims, "RAVEN")
        if min(hidden.values()) < 1:
            raise ValueError("every width must be at least 1")
        if shift_weight <= 0:
            raise ValueError(f"shift_weight={shift_weight}: give a number above 0")
        self.nonverbal = list(nonverbal)
        self.shift_weight = shift_weight

        reader = text_reader(dims["text"], text_encoder, bert_dropout)
        self.encoders = nn.ModuleDict({"text": reader})
        for m, dim in nonverbal.items():
            self.encoders[m] = LSTMEncoder(dim, hidden[m], bidirectional=False)
        self.gate = nn.ModuleDict({m: nn.Linear(hidden[m] + reader.width, 1) for m in self.nonverbal})
        self.shift = nn.Linear(sum(hidden[m] for m in self.nonverbal), reader.width)
        self.word_lstm = LSTMEncoder(reader.width, hidden["text"], bidirectional=False)
        self.head = nn.Linear(hidden["text"], 1)
        self.dropout = Dropout(dropout)

    def forward(self, batch: Batch) -> ModelOutput:
        """Predict the sentiment of each utterance from its words, each shifted by the frames that go with it."""
        text = batch.sequence("text")
        words: Tensor = self.encoders["text"](text)  # (batch, time, width)
        # Utterance and position of each real word, (words,), computed on the CPU, where the lengths are.
        utterance = torch.arange(len(text.lengths)).repeat_interleave(text.lengths)
        position = torch.cat([torch.arange(n) for n in text.lengths.tolist()])
        at = utterance.to(words.device), position.to(words.device)
        e = words[at]  # (words, width)
        gated = []
        for m in self.nonverbal:
            lstm = cast(LSTMEncoder, self.encoders[m])
            h = lstm.last(self._segments(m, batch, utterance, position))  # (words, hidden)
            gated.append(self.gate[m](torch.cat([h, e], dim=-1)).sigmoid() * h)
        # W_v (w_v h_v) + W_a (w_a h_a) + b, with [W_v W_a] in one matrix.
        shift = self.shift(torch.cat(gated, dim=-1))  # (words, width)
        shifted = self.dropout(e + shift_scale(e, shift, self.shift_weight) * shift)
        sequence = shifted.new_zeros(words.shape).index_put(at, shifted)
        last = self.word_lstm.last(Padded(sequence, text.mask, text.lengths))
        return ModelOutput(self.head(last).squeeze(-1))

    def _segments(self, m: str, batch: Batch, utterance: Tensor, position: Tensor) -> Padded:
        """Each real word's frames: (words, longest segment, dim)."""
        frames = batch.sequence(m)
        lengths = batch.sequence("text").lengths
        start, end = word_frames(position, lengths[utterance], frames.lengths[utterance])
        step = torch.arange(int((end - start).max()))
        index = torch.minimum(start[:, None] + step, end[:, None] - 1)  # past its end: the last frame again, unread
        device = frames.values.device
        values = self.dropout(frames.values)[utterance.to(device)[:, None], index.to(device)]
        return Padded(values, (step < (end - start)[:, None]).to(device), end - start)


def word_frames(position: Tensor, words: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """The frames of a word, from start up to, but not including, end, if no word timings are known.

    L frames are divided evenly among n words: word i gets the frames ⌊iL/n⌋ to ⌊(i+1)L/n⌋ - 1. If there are none, it
    gets the one frame ⌊iL/n⌋. With as many frames as words, each word has its own.

    Args:
        position: int64 (words,), i.
        words: int64 (words,), n of the utterance that the word is in.
        frames: int64 (words,), L of that utterance.

    Returns:
        start and end, int64 (words,).
    """
    start = position * frames // words
    return start, torch.maximum((position + 1) * frames // words, start + 1)
