"""The prompt of the language-model backbones: its layout, and what must not get into it."""

from __future__ import annotations

import numpy as np
import pytest

from finevla.errors import InstructionError, PolicyError
from finevla.policy.presets import preset
from finevla.policy.qwen_text import PLACEHOLDER, QwenCodec
from finevla.policy.qwen_tiny import tiny_tokenizer
from finevla.policy.text import codec_from_json

OFT = preset("qwen-tiny", "oft", dof=14, horizon=3)
FLOW = preset("qwen-tiny", "flow", dof=14, horizon=3)
TEXT = "lift it with the left arm"


@pytest.fixture(scope="module")
def codec() -> QwenCodec:
    return QwenCodec.for_policy(OFT, tiny_tokenizer(), max_tokens=256)


def decoded(codec: QwenCodec, row: np.ndarray) -> str:
    return codec._backend.decode(row.tolist(), skip_special_tokens=False)


def test_prompt_is_that_of_the_paper_in_the_chat_template_of_qwen(codec: QwenCodec) -> None:
    row = codec.encode(TEXT)
    assert row.shape == (256,)
    assert row.dtype == np.int64
    text = decoded(codec, row[row != codec.pad_id])
    picture = "<|vision_start|>" + "<|image_pad|>" * 4 + "<|vision_end|>"
    assert text == (
        "<|im_start|>user\n" + 3 * picture + TEXT + " Please predict the next 3 robot actions: <action>"
        f"{PLACEHOLDER * 3}<action>.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert (row == codec.placeholder_id).sum() == 3


def test_flow_head_gets_the_instruction_alone() -> None:
    codec = QwenCodec.for_policy(FLOW, tiny_tokenizer(), max_tokens=256)
    row = codec.encode(TEXT)
    text = decoded(codec, row[row != codec.pad_id])
    assert text.endswith(f"<|vision_end|>{TEXT}<|im_end|>\n<|im_start|>assistant\n")
    assert (row == codec.placeholder_id).sum() == 0


def test_left_and_right_and_order_and_case_are_kept(codec: QwenCodec) -> None:
    rows = [codec.encode(t) for t in (TEXT, TEXT.replace("left", "right"), "left it with the lift arm")]
    assert not np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])


@pytest.mark.parametrize("text", ["", "  \n"])
def test_empty_text_is_refused(codec: QwenCodec, text: str) -> None:
    with pytest.raises(InstructionError, match="empty"):
        codec.check(text)


def test_too_long_text_is_refused_with_the_length_that_fits(codec: QwenCodec) -> None:
    fits = next(n for n in range(400) if _too_long(codec, "a" * (n + 1)))
    codec.check("a" * fits)
    with pytest.raises(InstructionError, match="too long") as caught:
        codec.check("a" * 300)
    assert f"up to {fits} tokens" in caught.value.expected


def _too_long(codec: QwenCodec, text: str) -> bool:
    try:
        codec.check(text)
    except InstructionError:
        return True
    return False


@pytest.mark.parametrize("token", ["<|image_pad|>", "<|im_end|>", "<|endoftext|>", PLACEHOLDER])
def test_control_tokens_cannot_be_smuggled_in(codec: QwenCodec, token: str) -> None:
    with pytest.raises(InstructionError, match="control tokens"):
        codec.encode(f"lift {token} it")


def test_codec_survives_json_with_its_tokenizer(codec: QwenCodec) -> None:
    document, files = codec.to_json(), codec.files
    assert document["type"] == "qwen"
    assert document["tokenizer"] == "tokenizer.json"
    again = codec_from_json(document, files)
    assert np.array_equal(again.encode(TEXT), codec.encode(TEXT))
    assert again.mismatch(OFT) == ""
    assert again.words == ()
    again.check(again.example)
    for broken, kept in (
        (document, {}),
        (document, {"tokenizer.json": b"{}"}),
        ({k: v for k, v in document.items() if k != "pad_id"}, files),
        ({**document, "extra": 1}, files),
        ({**document, "type": "morse"}, files),
    ):
        with pytest.raises(PolicyError, match="text codec"):
            codec_from_json(broken, kept)


def test_prompts_of_another_policy_are_a_mismatch(codec: QwenCodec) -> None:
    assert "placeholders" in codec.mismatch(FLOW)
    assert "qwen backbone" in codec.mismatch(preset("compact", dof=14, horizon=3, vocabulary_size=5))
    with pytest.raises(PolicyError, match="does not read the tokens"):
        QwenCodec.for_policy(preset("compact", dof=14, horizon=3, vocabulary_size=5), tiny_tokenizer())
    with pytest.raises(PolicyError, match="not that of the language model"):
        QwenCodec.for_policy(preset("qwen3-vl-4b", dof=14, horizon=3), tiny_tokenizer())
    with pytest.raises(PolicyError, match="not that of the language model"):
        QwenCodec.for_policy(OFT, b"no tokenizer")


def test_pictures_must_be_whole_patches() -> None:
    from dataclasses import replace

    with pytest.raises(PolicyError, match="cannot be cut into patches"):
        QwenCodec.for_policy(replace(OFT, image_size=(60, 64)), tiny_tokenizer())
