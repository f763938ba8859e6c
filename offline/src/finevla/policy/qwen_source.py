"""A published language model as the start of a policy: its configuration, tokenizer and weights.

A source is a folder, or the name of a model on the hub. Nothing is downloaded unless the caller
says so; only safetensors are read, and no code of the source is run.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from finevla.errors import PolicyError
from finevla.policy.config import PolicyConfig, QwenConfig
from finevla.policy.model import PolicyNetwork
from finevla.policy.qwen import CLASSES, QwenBackbone
from finevla.policy.qwen_text import PLACEHOLDER, TOKENIZER_FILE

_NOT_STORED = {"transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype"}


def configure(source: str | Path, *, download: bool = False) -> tuple[QwenConfig, bytes]:
    """Configuration of the backbone and bytes of `tokenizer.json` of a published model.

    Args:
        source: A folder, or a name on the hub.
        download: Whether missing files may be fetched from the hub.

    Raises:
        PolicyError: A file is missing or unusable, or the model is of another family.
    """
    architecture = json.loads(_file(source, "config.json", download).read_bytes())
    tokenizer = _file(source, TOKENIZER_FILE, download).read_bytes()
    kind = architecture.get("model_type") if isinstance(architecture, dict) else None
    if kind not in CLASSES:
        raise PolicyError(
            "the language model is of another family",
            where=source,
            expected=sorted(CLASSES),
            found=kind,
            remedy="use a model of one of these families",
        )
    plain = {name: value for name, value in architecture.items() if name not in _NOT_STORED}
    backend = importlib.import_module("tokenizers").Tokenizer.from_str(tokenizer.decode())
    placeholder = backend.encode(PLACEHOLDER, add_special_tokens=False).ids
    padding = backend.token_to_id("<|endoftext|>")
    if not placeholder or padding is None:
        raise PolicyError(
            "the tokenizer lacks a token that the prompt needs",
            where=source,
            expected=f"tokens for {PLACEHOLDER!r}, and <|endoftext|>",
            found=f"{placeholder} and {padding}",
            remedy="take the tokenizer that was published with the model",
        )
    config = QwenConfig(
        architecture=plain, placeholder_id=placeholder[0], pad_id=padding, gradient_checkpointing=True
    )
    return config, tokenizer


def with_source(config: PolicyConfig, source: str | Path, *, download: bool = False) -> PolicyConfig:
    """A policy's configuration with the backbone of a published model; number formats are kept.

    Raises:
        PolicyError: As `configure`, or the policy has another kind of backbone.
    """
    part = _qwen(config)
    found, _ = configure(source, download=download)
    kept = {name: getattr(part, name) for name in ("weights", "compute", "gradient_checkpointing")}
    return replace(config, backbone=replace(found, **kept))


def load_pretrained(network: PolicyNetwork, source: str | Path, *, download: bool = False) -> None:
    """Replaces the random weights of the language model by published ones; the head stays.

    Raises:
        PolicyError: The weights are missing, not safetensors, or of another shape.
    """
    _qwen(network.config)
    backbone = network.backbone
    assert isinstance(backbone, QwenBackbone)  # noqa: S101  # for the type checker
    found = _pretrained(backbone, source, download).state_dict()
    current = backbone.model.state_dict()
    wrong = sorted(n for n in {*found, *current} if n not in found or n not in current)
    wrong += [n for n in found if n in current and found[n].shape != current[n].shape]
    if wrong:
        raise PolicyError(
            "the published weights do not fit the language model",
            where=source,
            expected="the tensors of the configuration",
            found=wrong[:5],
            remedy="build the policy with the configuration of the same source (`configure`)",
        )
    backbone.model.load_state_dict(found)


def _pretrained(backbone: QwenBackbone, source: str | Path, download: bool) -> Any:
    """The published model without its language head.

    It is loaded as it was published: transformers 5.5 renames the weights of Qwen3.5 wrongly when it
    is asked for the inner model, and would leave it random.
    """
    transformers = importlib.import_module("transformers")
    model = getattr(transformers, CLASSES[str(backbone.part.architecture["model_type"])][2])
    dtype = torch.bfloat16 if backbone.part.weights == "bfloat16" else torch.float32
    try:
        loaded, information = model.from_pretrained(
            str(source),
            local_files_only=not download,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=dtype,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as err:
        raise _missing(source, "weights as safetensors that fit its configuration", err, download) from err
    if missing := sorted(name for name in information["missing_keys"] if name.startswith("model.")):
        raise _missing(source, "all weights", f"no {missing[:5]}", download)
    return loaded.model


def _file(source: str | Path, name: str, download: bool) -> Path:
    if (folder := Path(source)).is_dir():
        if (folder / name).is_file():
            return folder / name
        raise _missing(source, name, "a folder without it", download)
    hub = importlib.import_module("huggingface_hub")
    try:
        return Path(hub.hf_hub_download(str(source), name, local_files_only=not download))
    except (OSError, ValueError) as err:  # the errors of the hub are among these
        raise _missing(source, name, err, download) from err


def _missing(source: str | Path, expected: str, found: object, download: bool) -> PolicyError:
    remedy = "give the folder of a published model"
    return PolicyError(
        "the source of the language model lacks a part",
        where=source,
        expected=expected,
        found=found,
        remedy=remedy if download else f"{remedy}, or allow the download",
    )


def _qwen(config: PolicyConfig) -> QwenConfig:
    if not isinstance(config.backbone, QwenConfig):
        raise PolicyError(
            "this backbone does not start from a language model",
            expected="a qwen backbone",
            found=type(config.backbone).__name__,
            remedy="choose a qwen preset",
        )
    return config.backbone
