"""Batches from a store, for Lightning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import lightning as L
import torch
from torch.utils.data import DataLoader

from mmsa_lightning.batch import Batch
from mmsa_lightning.data.missing import Masks, Missing
from mmsa_lightning.data.ragged import Ragged
from mmsa_lightning.data.sampler import ORDERS, LengthSampler, TrainingSampler
from mmsa_lightning.data.store import SPLITS, Store
from mmsa_lightning.data.utterances import Scale, Utterances, moments
from mmsa_lightning.data.vocabularies import command, unknown_id
from mmsa_lightning.errors import UserError
from mmsa_lightning.modalities import MODALITIES


class LazyLoader(DataLoader[Batch]):
    """Starts its workers when the first batch is asked for: Lightning tells the sampler its epoch after ``iter``."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        yield from super().__iter__()


class StoreDataModule(L.LightningDataModule):
    """The three splits of a store as batches, padded on the right to their own longest.

    Args:
        path: the store.
        batch_size: utterances per training step and process.
        eval_batch_size: the same in evaluation, in utterances of 32 steps, see :class:`LengthSampler`; it changes
            nothing but speed and memory.
        text: ``bert`` reads token ids, ``features`` word vectors or precomputed features.
        modalities: which of text, audio, vision to read; None for all that the store has.
        standardize: give each audio and vision feature zero mean and unit variance over the steps of train that hold
            something. A step that is zero throughout, as those of [CLS] and [SEP] and of missing data are, stays zero.
        seed: of the training order.
        num_workers: loader processes; each opens the store itself.
        order: ``bucket`` trains on batches of like lengths, ``uniform`` on any; see :class:`TrainingSampler`.

    Raises:
        UserError: the store lacks a modality, or the form of text, that was asked for.
        ValueError: a batch size below 1, a negative number of workers, an unknown order.
    """

    def __init__(
        self,
        path: str,
        *,
        batch_size: int,
        eval_batch_size: int,
        text: str,
        modalities: Sequence[str] | None,
        standardize: bool,
        seed: int,
        num_workers: int,
        order: str = "bucket",
    ) -> None:
        super().__init__()
        if min(batch_size, eval_batch_size) < 1 or num_workers < 0:
            raise ValueError("batch_size and eval_batch_size must be at least 1, num_workers at least 0")
        if not path:
            raise ValueError("path is empty")
        if order not in ORDERS:
            raise ValueError(f"order={order}: choose one of {', '.join(ORDERS)}")
        self.path = Path(path)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.text = text
        self.wanted = modalities
        self.standardize = standardize
        self.order = order
        self.seed = seed
        self.num_workers = num_workers
        self.missing = Missing()
        self.unknown: int | None = None  # looked up when tokens can be missing

    def setup(self, stage: str | None = None) -> None:
        """Open the store and choose its sequences, once.

        Lightning calls this again before it validates and tests: a store that was replaced meanwhile must not be read.
        """
        if hasattr(self, "store"):
            return
        self.store = Store(self.path)
        self.sequences = {m: self._sequence_name(m) for m in self._modalities()}
        self.scale: dict[str, Scale] = {}
        if self.standardize:
            train = self.store.splits["train"].sequences
            self.scale = {m: moments(train[m]) for m in ("audio", "vision") if m in self.sequences}

    def set_missing(self, missing: Missing) -> None:
        """From here on leave out what ``missing`` says; :meth:`setup` first.

        Raises:
            UserError: these data cannot miss it, or it is not known which token is the unknown one.
        """
        modalities = list(self.sequences)
        if not any(missing.applies(split) for split in SPLITS):
            self.missing = missing
            return
        if missing.mode == "modality" and len(modalities) < 2:
            raise UserError(f"missing.mode=modality needs two modalities or more, but only {modalities[0]} is read")
        longest = self._longest()
        for m, width in (missing.grid or {}).items():
            if m in longest and width < longest[m]:
                raise UserError(f"missing.grid.{m}={width}: {self.path} has {m} of {longest[m]} steps; give as many")
        if "tokens" in self.sequences.values() and self.unknown is None:
            self.unknown = unknown_id(self.store.meta.vocabulary)
        self.missing = missing

    def _longest(self) -> dict[str, int]:
        """Steps of the longest utterance in all splits, by modality."""
        return {
            m: max(int(split.sequences[name].lengths.max()) for split in self.store.splits.values())
            for m, name in self.sequences.items()
        }

    def _modalities(self) -> list[str]:
        present = self.store.modalities
        if self.wanted is None:
            return present
        unknown = [m for m in self.wanted if m not in MODALITIES]
        lacking = [m for m in self.wanted if m not in present]
        if unknown or not self.wanted or len(set(self.wanted)) < len(self.wanted):
            raise UserError(f"modalities={list(self.wanted)}: choose at least one of {list(MODALITIES)}, each once")
        if lacking:
            raise UserError(f"{self.path} has no {' or '.join(lacking)}; it has {present}: set modalities accordingly")
        return [m for m in MODALITIES if m in self.wanted]

    def _sequence_name(self, modality: str) -> str:
        if modality != "text":
            return modality
        names = {"bert": "tokens", "features": "text"}
        if self.text not in names:
            raise UserError(f"text={self.text}: choose one of {list(names)}")
        if names[self.text] not in self.store.dims:
            other = next(way for way in names if way != self.text)
            raise UserError(f"{self.path} has no {names[self.text]} to read with text={self.text}; it has text={other}")
        return names[self.text]

    @property
    def dims(self) -> dict[str, int | None]:
        """Feature width of each modality that is read; None for text that comes as tokens."""
        return {m: self.store.dims[name] for m, name in self.sequences.items()}

    @property
    def aligned(self) -> bool:
        """Whether the sequences that are read have the same steps in every utterance."""
        return all(split.aligned(self.sequences.values()) for split in self.store.splits.values())

    @property
    def largest_token(self) -> int:
        """The largest token id of the store; -1 where text does not come as tokens."""
        return max((int(block.max()) for tokens in self._tokens() for block in tokens.blocks()), default=-1)

    @property
    def longest_text(self) -> int:
        """Word pieces of the longest utterance; -1 where text does not come as tokens."""
        return max((int(tokens.lengths.max()) for tokens in self._tokens()), default=-1)

    def _tokens(self) -> list[Ragged]:
        """Of each split; none where text does not come as tokens."""
        if self.sequences.get("text") != "tokens":
            return []
        return [split.sequences["tokens"] for split in self.store.splits.values()]

    def check_encoder(self, name: str, vocabulary_size: int, positions: int) -> None:
        """Check that a text encoder can read the tokens.

        Args:
            name: of the encoder.
            vocabulary_size: word pieces that it knows.
            positions: word pieces that it reads at a time.

        Raises:
            UserError: it cannot.
        """
        if self.largest_token >= vocabulary_size:
            raise UserError(
                f"text_encoder={name} knows {vocabulary_size} word pieces, but {self.path} has the token id "
                f"{self.largest_token}: it was tokenized for {self.store.meta.vocabulary}; tokenize it for this one "
                f"with: {command(self.path, name)}"
            )
        if self.longest_text > positions:
            raise UserError(
                f"text_encoder={name} reads {positions} word pieces at most, but {self.path} has an utterance of "
                f"{self.longest_text}"
            )

    def state_dict(self) -> dict[str, str]:
        """What a checkpoint keeps of the data: their hash."""
        return {"data_hash": self.store.meta.content_sha256}

    def load_state_dict(self, state_dict: dict[str, str]) -> None:
        """Take up a checkpoint.

        Raises:
            UserError: the checkpoint was trained on other data.
        """
        if state_dict != self.state_dict():
            raise UserError(
                f"the checkpoint was trained on other data than {self.path} now holds; overwrite=true starts again"
            )

    def split(self, name: str, drawn: bool = True) -> Utterances:
        """The utterances of train, valid or test, without what is missing.

        Args:
            name: of the split.
            drawn: whether what is drawn anew in each epoch is missing, too, and not only what always is.
        """
        masks = None
        if self.missing.applies(name) and (drawn or self.missing.draw == "reference"):
            widths = self._longest() | (self.missing.grid or {})
            grid = {m: (len(self.store.splits[name]), widths[m]) for m in self.sequences}
            framed = ("text",) if self.sequences.get("text") == "tokens" else ()
            masks = Masks(self.missing, name, *self._steps(), framed, grid)
        return Utterances(self.store, name, list(self.sequences.values()), self.scale, masks, self.unknown or 0)

    def _steps(self) -> tuple[bool, tuple[str, ...]]:
        """What :class:`Masks` needs of the store whatever of it is read: so that all models miss the same steps.

        Returns:
            whether all modalities of the store have the same steps; those that have the steps of its tokens.
        """
        dims, splits = self.store.dims, self.store.splits.values()
        stored = [name for name in ("tokens" if "tokens" in dims else "text", "audio", "vision") if name in dims]
        aligned = all(split.aligned(stored) for split in splits)
        if "tokens" not in dims:
            return aligned, ()
        on_tokens = (m for m, name in self.sequences.items() if all(s.aligned(["tokens", name]) for s in splits))
        return aligned, tuple(on_tokens)

    def train_dataloader(self) -> DataLoader[Batch]:
        data = self.split("train")
        rank, world = self._ranks()
        return self._loader(data, TrainingSampler(data.lengths, self.batch_size, self.seed, self.order, rank, world))

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation("valid")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation("test")

    def _evaluation(self, split: str) -> DataLoader[Batch]:
        data = self.split(split)
        return self._loader(data, LengthSampler(data.lengths, self.eval_batch_size, *self._ranks()))

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch while the processor goes on; Lightning's own would wait."""
        return batch.to(device, non_blocking=True)

    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, data: Utterances, sampler: TrainingSampler | LengthSampler) -> DataLoader[Batch]:
        # The sampler yields whole batches and the dataset answers them: no per-utterance collating. The generator is
        # the loader's own, so that drawing worker seeds does not disturb training's random numbers.
        return LazyLoader(
            data,
            sampler=sampler,
            batch_size=None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            generator=torch.Generator(),
        )
