"""Batches: drawn and augmented as a function of seed and step only, so that resuming is exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finevla.contract.mirror import Mirror
from finevla.contract.transforms import Transform
from finevla.errors import DatasetError
from finevla.policy.inference import pictures_to_tensor
from finevla.policy.inputs import Inputs
from finevla.stages.train.augment import Augment, Shake
from finevla.stages.train.data import FrameCache
from finevla.stages.train.mix import Mix, MixMode
from finevla.stages.train.sampler import Balance, Drawn, Sampler, require_texts


class Encoder(Protocol):
    """The part of a text codec that batches need."""

    def encode(self, text: str) -> NDArray[np.int64]:
        """Token ids of a text, shape (L,), as long as those of every other text."""
        ...


class Batch(NamedTuple):
    """Inputs, normalised targets (B, H, dof), which of them count (B, H), and where the hand acts next.

    place: (B, 2), right and down in the first picture, -1 to 1; nan where nothing follows; None where
    places are not trained.
    """

    inputs: Inputs
    target: Tensor
    valid: Tensor
    place: Tensor | None = None


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is looked up for a sample: frames (B,), words as fine or raw (B,), mirrored or not (B,)."""

    frames: NDArray[np.int64]
    fine: NDArray[np.bool_]
    mirrored: NDArray[np.bool_]


class BatchSource:
    """Makes batches out of a frame cache."""

    def __init__(
        self,
        cache: FrameCache,
        codec: Encoder,
        state: Transform,
        action: Transform,
        horizon: int,
        rest_steps: int,
        mix: Mix,
        mix_mode: MixMode = "strict",
        mirror: Mirror | None = None,
        *,
        augment: Augment | None = None,
        balance: Balance = "frames",
        places: NDArray[np.float64] | None = None,
    ) -> None:
        """Encodes texts and joints once.

        Args:
            cache: The dataset.
            codec: Turns texts into token ids.
            state: Normalization of the measured joints.
            action: Normalization of the targets.
            horizon: Targets of a sample.
            rest_steps: Repetitions of the last action that count as targets.
            mix: How often the words are fine-grained.
            mix_mode: `strict` or `upstream`, see `mix`.
            mirror: The robot's mirror, where `augment.mirror` is above zero.
            augment: Strengths of the augmentation; None takes the defaults.
            balance: `frames` or `group`, see `sampler.Sampler`.
            places: Where the hand acts next, per frame (N, 2) as in `Batch.place`; None where not trained.

        Raises:
            DatasetError: Episodes lack a text that the mix needs.
            InstructionError: The codec does not know a word.
            ContractError: The pictures have no mirror image.
            ValueError: The augmentation mirrors and there is no mirror.
        """
        require_texts(cache, mix, mix_mode)
        self.cache, self._codec, self._action = cache, codec, action
        self.horizon, self.rest_steps = horizon, rest_steps
        self.mix, self.mix_mode, self.balance = mix, mix_mode, balance
        self.augment = augment or Augment()
        self._places = places
        self._sampler: tuple[NDArray[np.int64], Sampler] | None = None
        self._words = {text: codec.encode(text) for text in cache.texts_of(np.arange(cache.episodes))}
        self._state = state.apply(cache.state).astype(np.float32)
        self._mirror = mirror if self.augment.mirror > 0.0 else None
        if self.augment.mirror > 0.0 and mirror is None:
            raise ValueError("augment.mirror needs a mirror")
        if self._mirror is not None:
            self._partners = self._mirror.partners(cache.images)
            self._mirrored_state = state.apply(self._mirror.joints(cache.state)).astype(np.float32)
            self._able, self._images_of = mirror_images(cache, self._mirror)

    def exact(self, frames: NDArray[np.int64], fine: bool = True) -> Batch:
        """These frames as they are, with their fine-grained or their raw words.

        Raises:
            DatasetError: An episode has no such text; `FrameCache.has_text` tells beforehand.
        """
        rows = _Rows(frames, np.full(len(frames), fine), np.zeros(len(frames), np.bool_))
        return self._batch(rows, self._pictures(rows), self._states(rows))

    def drawn(self, frames: NDArray[np.int64], size: int, seed: int, step: int) -> Drawn:
        """Frames and words of a step, without pictures; what `draw` makes its batch of."""
        if self._sampler is None or self._sampler[0] is not frames:
            sampler = Sampler(self.cache, frames, self.mix, self.mix_mode, self.balance)
            self._encode_mirrored(frames)
            self._sampler = (frames, sampler)
        return self._sampler[1].draw(size, seed, step)

    def draw(
        self, frames: NDArray[np.int64], size: int, seed: int, step: int, rank: int = 0, world: int = 1
    ) -> Batch:
        """The augmented batch of a step; the same for the same seed and step.

        Args:
            frames: Frames to draw from.
            size: Samples over all ranks.
            seed: Of the run.
            step: Of the run.
            rank: Which part of the batch to make.
            world: Number of equal parts; the parts in order are the batch of one rank alone.

        Raises:
            ValueError: The batch cannot be divided like that.
        """
        part = _part(size, rank, world)
        drawn = self.drawn(frames, size, seed, step)
        shake = self.augment.draw(drawn.rng, size, self.cache.state.shape[1]).part(part)
        chosen, fine = drawn.frames[part], drawn.fine[part]
        rows = _Rows(chosen, fine, shake.mirror & self._mirrorable(chosen))
        pictures = shake.rolled(self._pictures(rows))
        batch = self._batch(rows, pictures, self._states(rows) + shake.noise)
        if batch.place is not None:
            height, width = pictures.shape[2:4]
            moved = torch.from_numpy(shake.shift[:, ::-1] * (2.0 / np.array([width, height])))
            batch = batch._replace(place=batch.place + moved.float())
        return _recolored(batch, shake)

    def _pictures(self, rows: _Rows) -> NDArray[np.uint8]:
        pictures = self.cache.pictures[rows.frames]
        if rows.mirrored.any():
            pictures[rows.mirrored] = pictures[rows.mirrored][:, self._partners, :, ::-1]
        return pictures

    def _states(self, rows: _Rows) -> NDArray[np.float32]:
        states = self._state[rows.frames]
        if rows.mirrored.any():
            states[rows.mirrored] = self._mirrored_state[rows.frames[rows.mirrored]]
        return states

    def _batch(self, rows: _Rows, pictures: NDArray[np.uint8], state: NDArray[np.float32]) -> Batch:
        targets, valid = self.cache.chunks(rows.frames, self.horizon, self.rest_steps)
        if self._mirror is not None and rows.mirrored.any():
            targets[rows.mirrored] = self._mirror.joints(targets[rows.mirrored])
        words = np.stack([self._words[text] for text in self._texts(rows)])
        inputs = Inputs(pictures_to_tensor(pictures), torch.from_numpy(words), torch.from_numpy(state))
        normalized = torch.from_numpy(self._action.apply(targets).astype(np.float32))
        return Batch(inputs, normalized, torch.from_numpy(valid), self._place(rows))

    def _place(self, rows: _Rows) -> Tensor | None:
        if self._places is None:
            return None
        places = self._places[rows.frames].astype(np.float32)
        places[rows.mirrored, 0] *= -1.0
        return torch.from_numpy(places)

    def _texts(self, rows: _Rows) -> list[str]:
        """The words of each sample."""
        cache = self.cache
        texts: list[str] = []
        owners = cache.episode_of(rows.frames)
        for episode, fine, mirrored in zip(owners, rows.fine, rows.mirrored, strict=True):
            text = (cache.fine if fine else cache.raw)[episode]
            if not text:
                raise DatasetError(
                    f"an episode has no {'fine-grained' if fine else 'raw'} text",
                    where=f"episode {episode}",
                    expected="a text to train or measure with",
                    found="none",
                    remedy="annotate the episode (`finevla annotate`) and convert again",
                )
            texts.append(self._images_of[text] if mirrored else text)
        return texts

    def _mirrorable(self, frames: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these frames have a mirror image, words included."""
        if self._mirror is None:
            return np.zeros(len(frames), np.bool_)
        able: NDArray[np.bool_] = self._able[self.cache.episode_of(frames)]
        return able

    def _encode_mirrored(self, frames: NDArray[np.int64]) -> None:
        """Encodes the mirror images of the words that training on these frames can need."""
        if self._mirror is None:
            return
        episodes = np.unique(self.cache.episode_of(frames))
        for text in self.cache.texts_of(episodes[self._able[episodes]]):
            image = self._images_of[text]
            if image not in self._words:
                self._words[image] = self._codec.encode(image)


def training_texts(
    cache: FrameCache, episodes: NDArray[np.int64], mirror: Mirror | None = None
) -> tuple[str, ...]:
    """All texts that training on these episodes can meet, sorted: what a vocabulary is made of.

    Raw and fine-grained texts and, with a mirror, their mirror images; the same for every mix, so
    that the policies of all mixes have equal shapes.
    """
    texts = set(cache.texts_of(episodes))
    if mirror is not None:
        able, image_of = mirror_images(cache, mirror)
        texts |= {image_of[text] for text in cache.texts_of(episodes[able[episodes]])}
    return tuple(sorted(texts))


def mirror_images(cache: FrameCache, mirror: Mirror) -> tuple[NDArray[np.bool_], dict[str, str]]:
    """Which episodes have a mirror image (episodes,), and the image of each of their texts.

    An episode has one if its fine-grained text has one: a raw text alone may hide an order in space
    ("in a row by color") that its fine-grained text tells. All its texts are mirrored or none.
    """
    able = np.zeros(cache.episodes, np.bool_)
    image_of: dict[str, str] = {}
    for episode, (fine, raw) in enumerate(zip(cache.fine, cache.raw, strict=True)):
        images = {text: mirror.text(text) for text in (fine, raw) if text}
        found = {text: image for text, image in images.items() if image is not None}
        able[episode] = bool(fine) and len(found) == len(images)
        if able[episode]:
            image_of |= found
    return able, image_of


def _part(size: int, rank: int, world: int) -> slice:
    if world < 1 or not 0 <= rank < world or size % world:
        raise ValueError(f"a batch of {size} has no part {rank} of {world} equal ones")
    each = size // world
    return slice(rank * each, (rank + 1) * each)


def _recolored(batch: Batch, shake: Shake) -> Batch:
    """Brightness around black, then a tint, per sample; values stay in [-1, 1]."""
    gain, tint = torch.from_numpy(shake.gain), torch.from_numpy(shake.tint)
    pictures = ((batch.inputs.pictures + 1.0) * gain - 1.0 + tint).clamp_(-1.0, 1.0)
    return batch._replace(inputs=batch.inputs._replace(pictures=pictures))
