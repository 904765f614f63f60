from types import SimpleNamespace

import pytest
import vocabularies

from mmsa_lightning.data.case import is_upper, tells_case
from mmsa_lightning.data.tokenizers import tokenizer


@pytest.mark.parametrize(
    ("texts", "upper"),
    [
        (["A LOT OF SAD PARTS", "THERE IS SAD PART"], True),
        (["THERE IS SAD PART, A LOT OF IT", "(umm)"], False),
        (["THERE IS SAD PART, A LOT OF IT " * 5, "(umm)"], True),
        (["I", "so good"], False),
        (["I'm", "OK"], False),
        (["这部电影", "123 …"], False),
        ([], False),
    ],
)
def test_a_transcript_is_upper_case_as_a_whole(texts, upper):
    assert is_upper(texts) is upper


@pytest.mark.parametrize("family", ["bert", "mpnet", "deberta-v2"])
def test_case_is_told_by_what_a_tokenizer_does(tmp_path, family):
    for cased in (True, False):
        found = tokenizer(vocabularies.save(tmp_path / str(cased), family, cased=cased))
        assert tells_case(found) is cased
        upper, lower = found([["GREAT"], ["great"]], is_split_into_words=True)["input_ids"]
        assert (upper != lower) is cased


def test_a_tokenizer_without_a_normalizer_tells_case():
    assert tells_case(SimpleNamespace(backend_tokenizer=SimpleNamespace(normalizer=None)))
    assert not tells_case(tokenizer("minilm"))
