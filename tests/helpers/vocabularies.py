"""Small real tokenizers of the families that a text encoder may be of, each trained here and saved as on the hub."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXT = [
    "i really loved it, so it was really good",
    "unbelievably bad acting and no plot whatsoever",
    "the film is great and the café is great",
    "it's okay i guess but the first one was better",
]


class Family(NamedTuple):
    """Its tokenizer's class, its special tokens with the padding's id first, and which model divides a word."""

    tokenizer_class: str
    special: tuple[str, ...]
    roles: tuple[str, str, str, str, str]  # begin, end, padding, unknown, mask
    model: str


_BERT = (("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"))
_ROBERTA = (("<s>", "<pad>", "</s>", "<unk>", "<mask>"), ("<s>", "</s>", "<pad>", "<unk>", "<mask>"))
_MPNET = (("<s>", "<pad>", "</s>", "[UNK]", "<mask>"), ("<s>", "</s>", "<pad>", "[UNK]", "<mask>"))
_ALBERT = (("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"), ("[CLS]", "[SEP]", "<pad>", "<unk>", "[MASK]"))
FAMILIES = {
    "bert": Family("BertTokenizer", *_BERT, "WordPiece"),
    "electra": Family("ElectraTokenizer", *_BERT, "WordPiece"),
    "distilbert": Family("DistilBertTokenizer", *_BERT, "WordPiece"),
    "mpnet": Family("MPNetTokenizer", *_MPNET, "WordPiece"),
    "roberta": Family("RobertaTokenizer", *_ROBERTA, "ByteLevel"),
    "modernbert": Family("PreTrainedTokenizerFast", *_BERT, "ByteLevel"),
    "xlm-roberta": Family("XLMRobertaTokenizer", *_ROBERTA, "Unigram"),
    "deberta-v2": Family("DebertaV2Tokenizer", *_BERT, "Unigram"),
    "albert": Family("AlbertTokenizer", *_ALBERT, "Unigram"),
}
ONE_OF_EACH = ("mpnet", "roberta", "deberta-v2")


def save(folder: Path, family: str, *, cased: bool = True, text: list[str] = TEXT) -> str:
    """Write a tokenizer trained on ``text`` to ``folder``, without weights.

    Returns:
        the folder, as --text-encoder takes it.
    """
    tokenizer_class, special, (begin, end, padding, unknown, mask), model = FAMILIES[family]
    options: dict[str, Any] = {"special_tokens": [*special], "vocab_size": 400, "show_progress": False}
    if model == "WordPiece":
        made = Tokenizer(models.WordPiece(unk_token=unknown))
        made.normalizer = normalizers.BertNormalizer(lowercase=not cased)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        trainer: Any = trainers.WordPieceTrainer(**options)
    elif model == "ByteLevel":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # as RoBERTa and ModernBERT are saved
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(**options, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    else:
        made = Tokenizer(models.Unigram())
        made.normalizer = normalizers.Sequence([] if cased else [normalizers.Lowercase()])
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(**options, unk_token=unknown)
    made.train_from_iterator(text * 20, trainer)
    ids = [(mark, made.token_to_id(mark)) for mark in (begin, end)]
    made.post_processor = processors.TemplateProcessing(single=f"{begin} $A {end}", special_tokens=ids)
    folder.mkdir(parents=True)
    made.save(str(folder / "tokenizer.json"))
    roles = {"cls_token": begin, "sep_token": end, "pad_token": padding, "unk_token": unknown, "mask_token": mask}
    settings = roles | {"tokenizer_class": tokenizer_class, "do_lower_case": not cased, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    return str(folder)


def save_unframed(folder: Path, single: str) -> str:
    """Write a byte-level tokenizer that frames a text as ``single`` says, such as ``$A </s>``: T5's way."""
    save(folder, "roberta")
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("</s>", 2)])
    made.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return str(folder)


def folder_with(path: Path, pieces: Iterable[str]) -> str:
    """A BERT's folder with a vocabulary of its own, and nothing else."""
    path.mkdir()
    (path / "config.json").write_text('{"model_type": "bert"}')
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (path / "vocab.txt").write_text("\n".join([*special, *pieces]) + "\n", encoding="utf-8")
    return str(path)
