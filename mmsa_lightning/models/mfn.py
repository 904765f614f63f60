"""Memory Fusion Network (Zadeh et al., AAAI 2018).

An LSTM reads each modality. At every step, attention over the LSTMs' memories before and after the step decides what is
written to a gated memory, which the modalities share. Original: https://github.com/pliang279/MFN.

Differences from the original:

- The recurrence ends at an utterance's last real step. In the original and in MMSA it runs on through the zero padding.
- Audio and vision are read step by step, as in the original. MMSA averages each over time to one step and repeats that
  50 times, which leaves nothing to fuse over time.
- Any subset of the modalities works; the original needs all three.
- Text may be BERT's hidden states instead of word vectors.
- Audio and vision are standardised over the train split (``data.standardize``). The original divides vision by its
  largest value in train, and leaves audio as it is; MMSA leaves both as they are.
- A batch holds utterances of similar lengths, and the batches differ from epoch to epoch. The original shuffles the
  train split once: its batches and their order are the same in every epoch, and it never trains on the utterances that
  do not fill a batch. MMSA draws batches uniformly, as ``data.order=uniform`` does.
- Training stops early, by ``patience``; the original always trains all its epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmsa_lightning.batch import Batch
from mmsa_lightning.models.layers.alignment import check_aligned
from mmsa_lightning.models.layers.dropout import Dropout
from mmsa_lightning.models.layers.encoders import nonverbal, text_reader
from mmsa_lightning.models.output import ModelOutput

NETS = ("attention", "proposal", "retain", "update", "head")


class MFN(nn.Module):
    """A system of LSTMs, the Delta-memory Attention Network and the Multi-view Gated Memory, over aligned steps. Works
    with any non-empty subset of text, audio and vision.

    Args:
        dims: feature width of each modality that is read; None for text as tokens, which BERT encodes.
        text_encoder, bert_dropout: see :class:`TextEncoder`.
        hidden: LSTM units for each modality.
        memory: width of the shared memory u.
        net_width, net_dropout: of the hidden layer of each small network: ``attention`` (D_a), ``proposal`` (D_u),
            ``retain`` (D_γ1), ``update`` (D_γ2) and ``head``.

    Raises:
        ValueError: no modality; a width below 1; other networks than these five.
    """

    needs_alignment = True

    def __init__(
        self,
        dims: Mapping[str, int | None],
        *,
        text_encoder: str,
        bert_dropout: float,
        hidden: Mapping[str, int],
        memory: int,
        net_width: Mapping[str, int],
        net_dropout: Mapping[str, float],
    ) -> None:
        super().__init__()
        if not dims:
            raise ValueError("at least one modality is needed")
        for name, given in {"net_width": net_width, "net_dropout": net_dropout}.items():
            if set(given) != set(NETS):
                raise ValueError(f"{name} has {', '.join(given) or 'nothing'}: give one for each of {', '.join(NETS)}")
        if min(memory, *hidden.values(), *net_width.values()) < 1:
            raise ValueError("every width must be at least 1")
        self.modalities = list(dims)
        self.memory = memory

        self.encoders = nn.ModuleDict()
        if "text" in dims:
            reader = text_reader(dims["text"], text_encoder, bert_dropout)
            self.encoders["text"] = reader
            self.text_cell = nn.LSTMCell(reader.width, hidden["text"])
        for m, dim in nonverbal(dims).items():
            self.encoders[m] = nn.LSTMCell(dim, hidden[m])

        def net(name: str, inputs: int, outputs: int) -> nn.Sequential:
            width = net_width[name]
            return nn.Sequential(
                nn.Linear(inputs, width), nn.ReLU(), Dropout(net_dropout[name]), nn.Linear(width, outputs)
            )

        states = sum(hidden[m] for m in dims)
        window = 2 * states  # c at two steps, of all modalities
        self.attention = net("attention", window, window)
        self.proposal = net("proposal", window, memory)
        self.retain = net("retain", window + memory, memory)
        self.update = net("update", window + memory, memory)
        self.head = net("head", states + memory, 1)

    def forward(self, batch: Batch) -> ModelOutput:
        """Predict the sentiment of each utterance.

        Args:
            batch: has every modality in ``dims``, all with the same steps.

        Raises:
            ValueError: modalities differ in length.
        """
        check_aligned(batch, self.modalities, "MFN needs aligned modalities")
        mask = batch.sequence(self.modalities[0]).mask
        last, cells = zip(*(self._run_lstm(m, batch, mask) for m in self.modalities), strict=True)
        c = torch.cat(cells, dim=-1)  # (batch, time, states)
        before = F.pad(c, (0, 0, 1, 0))[:, :-1]  # c_{t-1}; c_0 = 0
        window = torch.cat([before, c], dim=-1)  # (batch, time, 2 * states)
        # Neither the attention nor the proposals depend on the memory: all steps at once.
        attended = self.attention(window).softmax(dim=-1) * window  # ĉ = a ⊙ c, elementwise
        proposed = self.proposal(attended).tanh()  # (batch, time, memory)
        u = self._remember(attended, proposed, mask)
        return ModelOutput(self.head(torch.cat([*last, u], dim=-1)).squeeze(-1))

    def _run_lstm(self, m: str, batch: Batch, mask: Tensor) -> tuple[Tensor, Tensor]:
        """h at the last real step, (batch, hidden), and c at every step, (batch, time, hidden)."""
        sequence = batch.sequence(m)
        if m == "text":
            values, cell = self.encoders[m](sequence), self.text_cell
        else:
            values, cell = sequence.values, cast(nn.LSTMCell, self.encoders[m])
        h = c = values.new_zeros(len(values), cell.hidden_size)
        cells = []  # nn.LSTM does not return them
        for x, real in zip(values.unbind(dim=1), mask.unsqueeze(-1).unbind(dim=1), strict=True):
            new_h, new_c = cell(x, (h, c))
            h, c = torch.where(real, new_h, h), torch.where(real, new_c, c)
            cells.append(c)
        return h, torch.stack(cells, dim=1)

    def _remember(self, attended: Tensor, proposed: Tensor, mask: Tensor) -> Tensor:
        """u = γ1 ⊙ u + γ2 ⊙ û over the real steps: (batch, memory)."""
        u = proposed.new_zeros(len(proposed), self.memory)
        # Unbound at once: the gradient of attended[:, t] would be a whole tensor of zeros at every step.
        steps = attended.unbind(dim=1), proposed.unbind(dim=1), mask.unsqueeze(-1).unbind(dim=1)
        for attended_t, proposed_t, real in zip(*steps, strict=True):
            gates = torch.cat([attended_t, u], dim=-1)
            retain, update = self.retain(gates).sigmoid(), self.update(gates).sigmoid()
            u = torch.where(real, retain * u + update * proposed_t, u)
        return u
