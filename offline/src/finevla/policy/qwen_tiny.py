"""A random language model of a few thousand weights, and its byte tokenizer.

With them the whole code path of the `qwen` backbone runs in seconds and without any file: for tests
and first tries.
"""

from __future__ import annotations

import json
import string

from finevla.policy.config import QwenConfig

_CONTROL = (
    "<|unused|>",
    "<|endoftext|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|im_start|>",
    "<|im_end|>",
)

QWEN_TINY = QwenConfig(
    architecture={
        "model_type": "qwen3_vl",
        "image_token_id": 4,
        "video_token_id": 5,
        "vision_start_token_id": 2,
        "vision_end_token_id": 3,
        "text_config": {
            "model_type": "qwen3_vl_text",
            "vocab_size": 512,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 2048,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_interleaved": True,
                "mrope_section": [2, 1, 1],
            },
        },
        "vision_config": {
            "model_type": "qwen3_vl",
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
    },
    placeholder_id=8,
    pad_id=1,
    compute="float32",
)
"""Structure of Qwen3-VL; the numbers of its control tokens are those of `tiny_tokenizer`."""


def tiny_tokenizer() -> bytes:
    """A `tokenizer.json` of bytes, with the control tokens of Qwen and one token for the placeholder."""
    printable = [*string.punctuation, *string.digits, *string.ascii_letters]
    others = [chr(code) for code in (*range(0xA1, 0xAD), *range(0xAE, 0x144))]
    alphabet = sorted({*printable, *others})  # the byte alphabet of GPT-2
    placeholder = "\u00f0\u0141\u0136\u012f"  # its four bytes in that alphabet
    pieces = [placeholder[:2], placeholder[:3]]
    tokens = [*_CONTROL, placeholder, *alphabet, *pieces]
    added = [
        {"id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False}
        | {"normalized": False, "special": True}
        for number, token in enumerate(_CONTROL)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [
                [placeholder[0], placeholder[1]],
                [placeholder[:2], placeholder[2]],
                [placeholder[:3], placeholder[3]],
            ],
        },
    }
    return json.dumps(document).encode()
