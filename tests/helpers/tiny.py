"""Tiny random models of each family of text encoders, as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as hf

VOCABULARY = 1000
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 40,
}
DISENTANGLED: dict[str, Any] = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}

CONFIGS: dict[str, Any] = {  # of the families whose layers are walked
    "bert": hf.BertConfig(**SIZES),
    "roberta": hf.RobertaConfig(**SIZES),
    "xlm-roberta": hf.XLMRobertaConfig(**SIZES),
    "camembert": hf.CamembertConfig(**SIZES),
    "electra": hf.ElectraConfig(embedding_size=12, **SIZES),
    "mpnet": hf.MPNetConfig(**SIZES),
    "distilbert": hf.DistilBertConfig(
        vocab_size=VOCABULARY, dim=24, n_layers=3, n_heads=4, hidden_dim=40, max_position_embeddings=40
    ),
    "albert": hf.AlbertConfig(embedding_size=12, num_hidden_groups=2, inner_group_num=2, **SIZES),
    # It sees 3 steps to either side in two of three layers.
    "modernbert": hf.ModernBertConfig(
        local_attention=6, pad_token_id=1, bos_token_id=0, cls_token_id=0, eos_token_id=2, sep_token_id=2, **SIZES
    ),
    "deberta": hf.DebertaConfig(**DISENTANGLED, **SIZES),
    "deberta-v2": hf.DebertaV2Config(
        **DISENTANGLED,
        **SIZES,
        position_buckets=4,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
    ),
}
OTHERS: dict[str, Any] = {  # run as a whole
    "deberta-v2 with a convolution": hf.DebertaV2Config(**DISENTANGLED, **SIZES, conv_kernel_size=3, conv_act="gelu"),
    "ernie": hf.ErnieConfig(**SIZES),
}
REFUSED: dict[str, Any] = {
    "gpt2": hf.GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2),
    "t5": hf.T5Config(vocab_size=50, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2),
    "bart": hf.BartConfig(
        vocab_size=50,
        d_model=8,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=8,
        decoder_ffn_dim=8,
    ),
    "bert": hf.BertConfig(**SIZES | {"num_hidden_layers": 1}, is_decoder=True),
}


def save(config: Any, folder: Path, noise: float = 0.1) -> str:
    """Write a random model of this config, with larger weights than it would start with: what is wrong shows.

    Args:
        noise: standard deviation of what is added to each weight.

    Returns:
        the folder, as ``text_encoder`` takes it.
    """
    torch.manual_seed(1)
    model: Any = hf.AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=noise)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    model.save_pretrained(folder)
    return str(folder)
