"""A small store, and functions that each break one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mmsa_lightning.data.demo import generate
from mmsa_lightning.data.importer import import_source
from mmsa_lightning.data.store import SPLITS


def store(folder: Path) -> Path:
    path = folder / "x.h5"
    counts = dict.fromkeys(SPLITS, 8)
    import_source(generate(0, counts), path, dataset="own", name="made", sha256="0", tokenizer="minilm")
    return path


def replace(file: h5py.File, name: str, values: Any, **options: Any) -> None:
    del file[name]
    file.create_dataset(name, data=values, **options)


def no_label(file: h5py.File) -> None:
    del file["train/label"]


def labels_of_text(file: h5py.File) -> None:
    replace(file, "train/label", ["a"] * 8)


def labels_not_finite(file: h5py.File) -> None:
    file["valid/label"][0] = np.nan


def soft_link(file: h5py.File) -> None:
    del file["test/audio/values"]
    file["test/audio/values"] = h5py.SoftLink("/train/audio/values")


def link_to_a_file(file: h5py.File) -> None:
    del file["test"]
    file["test"] = h5py.ExternalLink("/etc/passwd", "/")


def unimodal_elsewhere(file: h5py.File) -> None:
    del file["train/unimodal"]
    file["train/unimodal"] = h5py.ExternalLink("/etc/passwd", "/")


def values_in_a_file(file: h5py.File) -> None:
    del file["train/label"]
    external = [("/etc/passwd", 0, 32)]
    file.create_dataset("train/label", (8,), np.float32, external=external)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((8,), np.float32)
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (8,))
    del file["train/label"]
    file.create_virtual_dataset("train/label", layout)


def terabytes_of_labels(file: h5py.File) -> None:
    del file["train/label"]
    file.create_dataset("train/label", (1 << 42,), np.float32, chunks=(1 << 20,))


def terabytes_of_offsets(file: h5py.File) -> None:
    del file["train/audio/offsets"]
    file.create_dataset("train/audio/offsets", (1 << 42,), np.int64, chunks=(1 << 20,))


def a_bomb(file: h5py.File) -> None:
    replace(file, "train/audio/values", np.zeros((1 << 16, 64), np.float32), compression="gzip")


def offsets_that_overlap(file: h5py.File) -> None:
    file["train/audio/offsets"][1] = 0


def offsets_past_the_end(file: h5py.File) -> None:
    file["train/audio/offsets"][-1] += 7


def offsets_of_floats(file: h5py.File) -> None:
    replace(file, "train/audio/offsets", file["train/audio/offsets"][:].astype(np.float64))


def tokens_below_zero(file: h5py.File) -> None:
    file["train/tokens/values"][0] = -5


def tokens_of_floats(file: h5py.File) -> None:
    replace(file, "train/tokens/values", file["train/tokens/values"][:].astype(np.float32))


def no_features(file: h5py.File) -> None:
    replace(file, "train/audio/values", np.zeros((len(file["train/audio/values"]), 0), np.float32))


def other_widths(file: h5py.File) -> None:
    replace(file, "test/audio/values", np.zeros((len(file["test/audio/values"]), 3), np.float32))


def a_group_for_values(file: h5py.File) -> None:
    del file["train/audio/values"]
    file.create_group("train/audio/values")


def another_schema(file: h5py.File) -> None:
    file.attrs["format"] = "mmsa-lightning store 99"


def meta_of_lists(file: h5py.File) -> None:
    meta = json.loads(file.attrs["meta"])
    file.attrs["meta"] = json.dumps(meta | {"content_sha256": [1], "report": "x"})


def nobody(file: h5py.File) -> None:
    replace(file, "train/id", np.array([], object), dtype=h5py.string_dtype())
    replace(file, "train/label", np.zeros(0, np.float32))


BREAKS = (
    no_label, labels_of_text, labels_not_finite, soft_link, link_to_a_file, unimodal_elsewhere, values_in_a_file,
    virtual, terabytes_of_labels, terabytes_of_offsets, a_bomb, offsets_that_overlap, offsets_past_the_end,
    offsets_of_floats, tokens_below_zero, tokens_of_floats, no_features, other_widths, a_group_for_values,
    another_schema, meta_of_lists, nobody,
)  # fmt: skip
