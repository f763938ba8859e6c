"""The `qwen` backbone: Qwen3-VL or Qwen3.5 of transformers, from the bundle's own configuration.

transformers is imported when such a backbone is built, never before. Pictures are cut into patches
here, as the model's own image processor does it: every picture is two equal frames, the patches of
a 2 x 2 block follow each other. Positions are computed here for the one layout that our prompts
have. The head's learned queries are added to the embeddings of the placeholder tokens (the paper
tells its placeholders apart by position only; the sum starts close to that).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from finevla.errors import PolicyError
from finevla.policy.config import QwenConfig
from finevla.policy.inputs import Encoded, Inputs
from finevla.policy.qwen_text import picture_grid

CLASSES = {
    "qwen3_vl": ("Qwen3VLConfig", "Qwen3VLModel", "Qwen3VLForConditionalGeneration"),
    "qwen3_5": ("Qwen3_5Config", "Qwen3_5Model", "Qwen3_5ForConditionalGeneration"),
}
"""Model type to the classes of transformers: configuration, model, and model as it is published."""

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def patchify(pictures_n3hw: Tensor, patch: int, merge: int, frames: int) -> Tensor:
    """Pictures to the flattened patches of the vision model, in its order.

    Args:
        pictures_n3hw: In [-1, 1], which is (x / 255 - 0.5) / 0.5 of the bytes; height and width are
            multiples of patch * merge.
        patch: Pixels of a patch's side.
        merge: Patches of a merged token's side.
        frames: Frames per patch; a still picture is repeated.

    Returns:
        (N * rows * columns, 3 * frames * patch * patch).
    """
    count, channels, height, width = pictures_n3hw.shape
    rows, columns = height // (patch * merge), width // (patch * merge)
    blocks = pictures_n3hw.reshape(count, channels, rows, merge, patch, columns, merge, patch)
    ordered = blocks.permute(0, 2, 5, 3, 6, 1, 4, 7)  # (N, rows, columns, merge, merge, 3, patch, patch)
    still = ordered.unsqueeze(6).expand(*ordered.shape[:6], frames, patch, patch)
    return still.reshape(count * rows * columns * merge**2, channels * frames * patch**2)


def positions(image_bl: Tensor, keep_bl: Tensor, grid: tuple[int, int]) -> Tensor:
    """Temporal, vertical and horizontal positions of the tokens (multimodal RoPE), (3, B, L).

    A text token advances all three by one. The tokens of a picture share the first, count rows and
    columns in the others, and all that follows goes on after the longer side.

    Args:
        image_bl: True where a token is one of a picture.
        keep_bl: True where a token is real; padding has position 0.
        grid: Rows and columns of tokens of every picture.
    """
    rows, columns = grid
    text_bl = keep_bl & ~image_bl
    texts_before = text_bl.cumsum(1) - text_bl.long()
    images_before = image_bl.cumsum(1) - image_bl.long()
    start = texts_before + images_before // (rows * columns) * max(rows, columns)
    within = (images_before % (rows * columns)) * image_bl
    places = torch.stack([start, start + within // columns, start + within % columns])
    return places * keep_bl


class QwenBackbone(nn.Module):
    """A vision-language model; all its last hidden states are the context.

    Args:
        part: Its configuration.
        image_size: Width and height that pictures are brought to, pixels.
        dof: Values of a state that is added to the queries, or None for none.
    """

    def __init__(self, part: QwenConfig, image_size: tuple[int, int], dof: int | None) -> None:
        super().__init__()
        self.part, self.image_size = part, image_size
        self.grid = picture_grid(part, image_size)
        self.model = build_model(part.architecture)
        if part.weights == "bfloat16":
            for parameter in self.model.parameters():  # not the buffers: rotary frequencies stay exact
                parameter.data = parameter.data.to(torch.bfloat16)
        if part.gradient_checkpointing:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.state = None if dof is None else nn.Linear(dof, self.width)
        self.vision = self.model.config.vision_config

    @property
    def width(self) -> int:
        """Width of every token."""
        return int(self.model.config.text_config.hidden_size)

    def forward(self, inputs: Inputs, queries_qd: Tensor) -> Encoded:
        """Returns all last hidden states with their mask, and those at the placeholders.

        Raises:
            PolicyError: The rows are not prompts for these pictures and queries.
        """
        keep = inputs.words != self.part.pad_id
        used = max(int(keep.sum(1).max()), 1)
        words, keep = inputs.words[:, :used], keep[:, :used]
        image = words == int(self.model.config.image_token_id)
        asked = words == self.part.placeholder_id
        cameras = inputs.pictures.shape[1]
        self._check(image, asked, cameras, len(queries_qd))
        reduced = self.part.compute == "bfloat16"
        with torch.autocast(words.device.type, dtype=torch.bfloat16, enabled=reduced):
            embedded = self._embed(words, asked, inputs.state, queries_qd)
            hidden = self.model(
                inputs_embeds=embedded,
                attention_mask=keep.long(),
                position_ids=positions(image, keep, self.grid),
                pixel_values=self._patches(inputs.pictures),
                image_grid_thw=self._grid_thw(len(words) * cameras, words.device),
                use_cache=False,
            ).last_hidden_state
        hidden = hidden.float()
        queries = hidden[asked].view(len(words), len(queries_qd), self.width)
        return Encoded(hidden, queries, keep)

    def _check(self, image_bl: Tensor, asked_bl: Tensor, cameras: int, queries: int) -> None:
        pictures = cameras * self.grid[0] * self.grid[1]
        counts = torch.stack([image_bl.sum(1), asked_bl.sum(1)])
        wanted = torch.tensor([[pictures], [queries]], device=counts.device)
        if bool((counts != wanted).any()):
            raise PolicyError(
                "the prompt has other pictures or placeholders than the network",
                expected=f"{pictures} picture tokens and {queries} placeholders",
                found=counts.T[:4].tolist(),
                remedy="encode the text with the codec of this policy",
            )

    def _embed(self, words_bl: Tensor, asked_bl: Tensor, state_bd: Tensor, queries_qd: Tensor) -> Tensor:
        embedded: Tensor = self.model.get_input_embeddings()(words_bl)
        if len(queries_qd) == 0:
            return embedded
        queries = queries_qd.expand(len(words_bl), -1, -1)
        if self.state is not None:
            queries = queries + self.state(state_bd)[:, None]
        added = torch.zeros_like(embedded)
        added[asked_bl] = queries.flatten(0, 1).to(embedded.dtype)
        return embedded + added

    def _patches(self, pictures_bc3hw: Tensor) -> Tensor:
        pictures = pictures_bc3hw.flatten(0, 1)
        width, height = self.image_size
        if pictures.shape[-2:] != (height, width):
            pictures = nn.functional.interpolate(
                pictures, (height, width), mode="bicubic", antialias=True, align_corners=False
            ).clamp(-1.0, 1.0)
        vision = self.vision
        return patchify(pictures, vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size)

    def _grid_thw(self, pictures: int, device: torch.device) -> Tensor:
        merge = int(self.vision.spatial_merge_size)
        one = torch.tensor([[1, self.grid[0] * merge, self.grid[1] * merge]], device=device)
        return one.expand(pictures, 3)


def build_model(architecture: Mapping[str, Any]) -> Any:
    """The model of a configuration of transformers, with random weights.

    Raises:
        PolicyError: It is of another family, or transformers cannot build it.
    """
    kind = str(architecture.get("model_type"))
    if kind not in CLASSES:
        raise PolicyError(
            "the language model is of another family",
            expected=sorted(CLASSES),
            found=kind,
            remedy="use a model of one of these families",
        )
    transformers = importlib.import_module("transformers")
    configuration, model, _ = (getattr(transformers, name) for name in CLASSES[kind])
    strict = importlib.import_module("huggingface_hub.errors").StrictDataclassError
    try:
        return model(configuration.from_dict(dict(architecture)))
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, strict) as err:
        raise PolicyError(
            "transformers cannot build the language model",
            expected=f"a configuration of {kind}",
            found=f"{type(err).__name__}: {err}",
            remedy="take the configuration from the folder of the model as it was published",
        ) from err
