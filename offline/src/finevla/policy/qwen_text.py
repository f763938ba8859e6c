r"""The `qwen` text codec: a language model's tokenizer and the prompt that the policy was trained with.

A row holds the whole prompt, in the layout of the model's chat template and of the paper:

    <|im_start|>user\n  [<|vision_start|> <|image_pad|> x n <|vision_end|>] per camera
    instruction  Please predict the next H robot actions: <action> placeholder x H <action>.
    <|im_end|>\n<|im_start|>assistant\n

A head without queries (flow) has the instruction alone. Padding is at the end: attention is causal,
so it changes nothing. The tokenizer is a `tokenizer.json`, kept among the files of the bundle.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finevla.errors import InstructionError, PolicyError
from finevla.policy.config import PolicyConfig, QwenConfig

TOKENIZER_FILE = "tokenizer.json"
PLACEHOLDER = "\N{LEFT-POINTING MAGNIFYING GLASS}"
"""The paper's placeholder for one target. Qwen3-VL has it as one token; Qwen3.5 splits it, and the
first piece stands for it (upstream takes that piece's hidden state, too)."""

_ASK = " Please predict the next {count} robot actions: <action>"
_ASKED = "<action>."
_PREFIX, _SUFFIX = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
DEFAULT_MAX_TOKENS = 1024


def picture_grid(part: QwenConfig, image_size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of picture tokens that the language model sees, after merging patches.

    Raises:
        PolicyError: The pictures cannot be cut into whole tokens.
    """
    vision = part.architecture.get("vision_config", {})
    pixels = int(vision.get("patch_size", 16)) * int(vision.get("spatial_merge_size", 2))
    width, height = image_size
    if min(image_size) < pixels or width % pixels or height % pixels:
        raise PolicyError(
            "the pictures cannot be cut into patches",
            expected=f"a width and height that are multiples of {pixels} pixels",
            found=image_size,
            remedy="choose another image size, such as 224 x 224",
        )
    return height // pixels, width // pixels


@dataclass(frozen=True)
class QwenCodec:
    """A tokenizer and the layout of its prompts.

    Args:
        tokenizer: Bytes of `tokenizer.json`.
        cameras: Pictures per prompt.
        image_tokens: Tokens per picture.
        placeholders: Placeholder tokens, one per target; 0 for a head without queries.
        image_id: Token of a picture.
        vision_start_id: Token before a picture.
        vision_end_id: Token after a picture.
        placeholder_id: Token of a target.
        pad_id: Token that fills up.
        max_tokens: Length of a row.
    """

    tokenizer: bytes
    cameras: int
    image_tokens: int
    placeholders: int
    image_id: int
    vision_start_id: int
    vision_end_id: int
    placeholder_id: int
    pad_id: int
    max_tokens: int = DEFAULT_MAX_TOKENS

    @classmethod
    def for_policy(
        cls, config: PolicyConfig, tokenizer: bytes, max_tokens: int = DEFAULT_MAX_TOKENS
    ) -> QwenCodec:
        """The codec of a policy with a Qwen backbone.

        Raises:
            PolicyError: The policy has another backbone, or the tokenizer is not the model's.
        """
        part = config.backbone
        if not isinstance(part, QwenConfig):
            raise PolicyError(
                "this backbone does not read the tokens of a language model",
                expected="a qwen backbone",
                found=type(part).__name__,
                remedy="use the `words` codec, or a qwen preset",
            )
        rows, columns = picture_grid(part, config.image_size)
        try:
            codec = cls(
                tokenizer=tokenizer,
                cameras=config.cameras,
                image_tokens=rows * columns,
                placeholders=config.queries,
                image_id=int(part.architecture["image_token_id"]),
                vision_start_id=int(part.architecture["vision_start_token_id"]),
                vision_end_id=int(part.architecture["vision_end_token_id"]),
                placeholder_id=part.placeholder_id,
                pad_id=part.pad_id,
                max_tokens=max_tokens,
            )
            problem = codec.mismatch(config)
        except (KeyError, ValueError) as err:
            problem = f"{type(err).__name__}: {err}"
        if problem:
            raise PolicyError(
                "the tokenizer is not that of the language model",
                expected="the tokenizer.json that was published with the weights",
                found=problem,
                remedy="take configuration and tokenizer from the same folder",
            )
        return codec

    @cached_property
    def _backend(self) -> Any:
        try:
            return importlib.import_module("tokenizers").Tokenizer.from_buffer(self.tokenizer)
        except Exception as err:  # the library raises no narrower class
            raise ValueError(f"{TOKENIZER_FILE} cannot be read: {err}") from err

    @cached_property
    def _special(self) -> frozenset[int]:
        """Tokens that an instruction must not smuggle in."""
        added = self._backend.get_added_tokens_decoder()
        return frozenset(added) | {self.image_id, self.placeholder_id, self.pad_id}

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids

    @property
    def words(self) -> tuple[str, ...]:
        """Empty: a language model reads any text."""
        return ()

    @property
    def example(self) -> str:
        """A text for warming up, of usual length."""
        return "Use the left arm to pick up the red cube and put it into the bowl."

    @property
    def files(self) -> Mapping[str, bytes]:
        """The tokenizer."""
        return {TOKENIZER_FILE: self.tokenizer}

    def check(self, text: str) -> tuple[str, ...]:
        """Returns the tokens of the instruction.

        Raises:
            InstructionError: It is empty, too long, or holds a control token of the model.
        """
        ids, row = self._ids(text), self._prompt(text)
        problem = expected = ""
        if not text.strip() or not ids:
            problem, expected = "the instruction is empty", "a sentence"
        elif smuggled := sorted(self._special & set(ids)):
            tokens = [self._backend.id_to_token(token) for token in smuggled]
            problem, expected = f"the instruction holds control tokens {tokens}", "plain text"
        elif len(row) > self.max_tokens:
            problem = "the instruction is too long"
            expected = f"up to {self.max_tokens - len(row) + len(ids)} tokens"
        if problem:
            raise InstructionError(
                problem,
                where=f"instruction {text[:200]!r}",
                expected=expected,
                found=f"{len(ids)} tokens",
                remedy="say in one sentence what to do",
            )
        return tuple(self._backend.id_to_token(token) for token in ids)

    def encode(self, text: str) -> NDArray[np.int64]:
        """The prompt, shape (max_tokens,), padded at the end.

        Raises:
            InstructionError: As `check`.
        """
        self.check(text)
        prompt = self._prompt(text)
        row = np.full(self.max_tokens, self.pad_id, dtype=np.int64)
        row[: len(prompt)] = prompt
        return row

    def _prompt(self, text: str) -> list[int]:
        picture = [self.vision_start_id, *[self.image_id] * self.image_tokens, self.vision_end_id]
        asked = self._ids(text)
        if self.placeholders:
            asked = self._ids(text + _ASK.format(count=self.placeholders))
            asked += [self.placeholder_id] * self.placeholders + self._ids(_ASKED)
        return [*self._ids(_PREFIX), *picture * self.cameras, *asked, *self._ids(_SUFFIX)]

    def to_json(self) -> dict[str, Any]:
        """The layout as plain JSON values; the tokenizer is among `files`."""
        fields = asdict(self)
        fields["tokenizer"] = TOKENIZER_FILE
        return {"type": "qwen", **fields}

    @classmethod
    def from_json(cls, document: Mapping[str, Any], files: Mapping[str, bytes]) -> QwenCodec:
        """Rebuilds the codec.

        Raises:
            KeyError, TypeError, ValueError: A field or the tokenizer is missing or unusable.
        """
        fields = {name: value for name, value in document.items() if name != "type"}
        tokenizer = files[fields.pop("tokenizer")]
        codec = cls(tokenizer=tokenizer, **{name: int(value) for name, value in fields.items()})
        codec._backend  # noqa: B018  # a damaged tokenizer is found now, not at the first instruction
        return codec

    def mismatch(self, config: PolicyConfig) -> str:
        """Why the prompts do not fit a policy; empty where they do.

        Raises:
            ValueError: The tokenizer cannot be read.
        """
        part = config.backbone
        if not isinstance(part, QwenConfig):
            return "prompts of a language model are for the qwen backbone"
        rows, columns = picture_grid(part, config.image_size)
        here = (self.cameras, self.image_tokens, self.placeholders, self.placeholder_id, self.pad_id)
        there = (config.cameras, rows * columns, config.queries, part.placeholder_id, part.pad_id)
        if here != there:
            return f"pictures, their tokens, placeholders, ids {here} for a network with {there}"
        if self._ids(PLACEHOLDER)[:1] != [self.placeholder_id]:
            return f"{PLACEHOLDER!r} begins with {self._ids(PLACEHOLDER)[:1]}, not {self.placeholder_id}"
        known, size = int(self._backend.get_vocab_size()), _vocabulary_size(part)
        return f"{known} tokens for a network with {size}" if known > size else ""


def _vocabulary_size(part: QwenConfig) -> int:
    return int(part.architecture.get("text_config", {}).get("vocab_size", 0))
