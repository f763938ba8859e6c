"""`--init PATH`: begin at the weights of a bundle or of another run (fine-tuning, a shared trunk)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finevla.contract.bundle import read_bundle
from finevla.contract.robot import RobotContract
from finevla.errors import PolicyError
from finevla.policy.config import PolicyConfig
from finevla.policy.model import PolicyNetwork
from finevla.policy.text import TextCodec
from finevla.stages.export.checkpoint import checkpoint_tensors, choose_checkpoint, read_run

_HEAD = "head."
_EMBEDDING = "backbone.text.embed.weight"
"""One row per word, after the row of the padding."""
_BUNDLE_FILE = "bundle.json"
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Origin:
    """Weights to begin with, and where they come from.

    Args:
        name: For the provenance: checkpoint id of a bundle, or directory and step of a run.
        model: Configuration that they belong to.
        text: Their text codec, as its `to_json` gives it.
        weights: By name; bfloat16 as bit patterns in uint16.
    """

    name: str
    model: Mapping[str, Any]
    text: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Begun:
    """What a network took from an origin: how many tensors, and which stayed fresh."""

    taken: int
    fresh: tuple[str, ...]
    new_words: tuple[str, ...]


def read_origin(path: Path, contract: RobotContract) -> Origin:
    """Reads a bundle, or the newest checkpoint of a training directory.

    Raises:
        PolicyError: It is neither, or was written by another version.
        BundleError: The bundle is for another robot or damaged.
    """
    if (path / _BUNDLE_FILE).is_file():
        bundle = read_bundle(path, contract)
        return Origin(bundle.checkpoint_id, bundle.content.model, bundle.content.text, bundle.weights)
    run = read_run(path)
    checkpoint = choose_checkpoint(path, None, ema=True)
    weights = checkpoint_tensors(checkpoint).arrays
    name = f"{path.resolve().name}, step {checkpoint.step}"
    return Origin(name, run["model"], run["text"], weights)


def begin_at(origin: Origin, network: PolicyNetwork, codec: TextCodec) -> Begun:
    """Loads the weights of an origin in place.

    A head of another kind stays fresh. The embeddings of known words are taken by word, wherever they
    stand in the vocabulary; those of new words stay fresh.

    Raises:
        PolicyError: The backbones or text codecs differ, or weights have other shapes; they are named.
    """
    _check_backbone(origin, network.config)
    fresh = {name: value.detach().clone() for name, value in network.state_dict().items()}
    given = {name: _tensor(array) for name, array in origin.weights.items()}
    ours, theirs = _words(codec.to_json()), _words(origin.text)
    _check_codec(origin, codec)
    if ours != theirs and _EMBEDDING in given and _EMBEDDING in fresh:
        given[_EMBEDDING] = _by_word(fresh[_EMBEDDING], given[_EMBEDDING], ours, theirs)
    if type(network.config.head) is not type(PolicyConfig.from_json(origin.model).head):
        given = {name: value for name, value in given.items() if not name.startswith(_HEAD)}
        expected = {name: value for name, value in fresh.items() if not name.startswith(_HEAD)}
    else:
        expected = fresh
    _check_shapes(origin, expected, given)
    network.load_state_dict({**fresh, **given})
    return Begun(
        taken=len(given),
        fresh=tuple(sorted(set(fresh) - set(given))),
        new_words=tuple(word for word in ours if word not in theirs),
    )


def _check_backbone(origin: Origin, config: PolicyConfig) -> None:
    """Two backbones can have equal shapes and still differ, in the number of attention heads say."""
    ours, theirs = config.to_json()["backbone"], dict(origin.model["backbone"])
    free = {"vocabulary_size", "gradient_checkpointing", "compute", "weights"}
    wrong = {
        key: (theirs.get(key), ours.get(key))
        for key in sorted({*ours, *theirs} - free)
        if ours.get(key) != theirs.get(key)
    }
    if wrong:
        raise PolicyError(
            "the weights to begin with belong to another backbone",
            where=f"--init {origin.name}",
            expected={key: pair[1] for key, pair in wrong.items()},
            found={key: pair[0] for key, pair in wrong.items()},
            remedy="choose the --model that the weights belong to",
        )


def _words(codec: Mapping[str, Any]) -> tuple[str, ...]:
    """The words of a codec in the order of their embeddings; none where it has no words of its own."""
    return tuple(codec.get("words", ()))


def _check_codec(origin: Origin, codec: TextCodec) -> None:
    """The same number must mean the same word, and it can only where words are made in the same way."""
    ours = codec.to_json().get("type")
    if origin.text.get("type") != ours:
        raise PolicyError(
            "the weights to begin with read sentences in another way",
            where=f"--init {origin.name}",
            expected=f"the text codec {ours}",
            found=origin.text.get("type"),
            remedy="begin at a policy that this version of `finevla train` made",
        )


def _check_shapes(origin: Origin, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    shapes = [{name: tuple(value.shape) for name, value in part.items()} for part in (ours, theirs)]
    wrong = sorted(n for n in {*ours, *theirs} if shapes[0].get(n) != shapes[1].get(n))
    if wrong:
        raise PolicyError(
            "the weights to begin with do not fit this model",
            where=f"--init {origin.name}: {len(wrong)} tensors",
            expected={name: shapes[0].get(name, "absent") for name in wrong[:_NAMED]},
            found={name: shapes[1].get(name, "absent") for name in wrong[:_NAMED]},
            remedy="choose the --model, --head and --cameras that the weights belong to",
        )


def _by_word(fresh: Tensor, given: Tensor, ours: tuple[str, ...], theirs: tuple[str, ...]) -> Tensor:
    """Embeddings (words + 1, width) of our words: given where they are known, else fresh."""
    rows = {word: number + 1 for number, word in enumerate(theirs)}
    made = fresh.clone()
    made[0] = given[0]
    for number, word in enumerate(ours):
        if word in rows:
            made[number + 1] = given[rows[word]]
    return made


def _tensor(array: NDArray[Any]) -> Tensor:
    value = torch.from_numpy(np.array(array))
    return value.view(torch.bfloat16) if value.dtype == torch.uint16 else value
