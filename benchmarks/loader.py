"""Is the loader ever what training waits for? Samples per CPU second of the loader and of the model.

    python benchmarks/loader.py [--json] [--out FILE]

A synthetic dataset is encoded as the converter encodes it (H.264, 320 x 240, key frame every 5). Before
anything is timed, the batches of both stores, of the ranks together and of the prefetching thread are
compared byte by byte: a faster loader of other batches scores nothing. Then rounds of loading (memory,
video) and of training updates (the `compact` policy, loss, gradients, AdamW) alternate on one thread, so
that a busy machine slows all of them alike; the ratio is the median over the rounds.

Floor: the memory store loads at least 3 times as many samples per CPU second as the model consumes. The
video store is information: it is for datasets that do not fit in memory. Exits 0 only where batches are
equal and the floor holds.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from origin import finish, origin, report_flags

from finevla.bag import EncodedImage
from finevla.bag.images import encode_jpeg
from finevla.contract import RobotContract, load_contract
from finevla.contract.images import WorkspaceCrop
from finevla.contract.transforms import Chain, JointStatistics, Normalize
from finevla.dataset.encode import VideoSettings, encode
from finevla.policy.model import PolicyNetwork, build_network
from finevla.policy.presets import preset
from finevla.policy.text import Vocabulary
from finevla.stages.train.batches import Batch, BatchSource, training_texts
from finevla.stages.train.data import FrameCache
from finevla.stages.train.mix import Mix
from finevla.stages.train.prefetch import Prefetch
from finevla.stages.train.source import Clip, Source
from finevla.stages.train.store import VideoStore, read_pictures

FLOOR = 3.0
BATCH = 64
EPISODES, LENGTH = 12, 120
BOX = (102, 50, 218, 166)
RAW = "pick up the cube"
REST_STEPS = 15


@dataclass(frozen=True)
class Loaders:
    """The same data behind both stores."""

    memory: BatchSource
    video: BatchSource
    frames: np.ndarray


def synthetic(folder: Path, contract: RobotContract) -> tuple[Source, dict[str, WorkspaceCrop]]:
    """Episodes of moving squares on a textured ground, one video each."""
    camera = contract.cameras[contract.sync.pivot]
    fps = round(contract.rates_hz.frame)
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 190, (camera.height // 8, camera.width // 8, 3))
    ground = ground.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
    for episode in range(EPISODES):
        color = rng.integers(0, 256, 3)
        pictures = [_picture(ground, color, 110 + (k + 7 * episode) % 80) for k in range(LENGTH)]
        jpegs = [EncodedImage("jpeg", encode_jpeg(p)) for p in pictures]
        encode(jpegs, folder / f"{episode}.mp4", (camera.width, camera.height), fps, VideoSettings())
    joints = rng.uniform(contract.lower, contract.upper, (2, EPISODES * LENGTH, contract.dof))
    source = Source(
        root=folder,
        fps=float(fps),
        state=joints[0],
        action=joints[1],
        stamps=np.tile(np.arange(LENGTH) / fps, EPISODES),
        starts=np.arange(EPISODES + 1) * LENGTH,
        tasks={e: _fine(e) for e in range(EPISODES)},
        clips={camera.name: tuple(Clip(folder / f"{e}.mp4", 0.0) for e in range(EPISODES))},
    )
    return source, {camera.name: WorkspaceCrop((camera.width, camera.height), BOX)}


def _picture(ground: np.ndarray, color: np.ndarray, x: int) -> np.ndarray:
    picture = ground.copy()
    picture[90:110, x : x + 20] = color
    return picture


def _fine(episode: int) -> str:
    return (
        f"pick up the {('red', 'blue')[episode % 2]} cube with the {('left', 'right')[episode // 2 % 2]} arm"
    )


def make_loaders(folder: Path, contract: RobotContract) -> Loaders:
    """Both stores over the synthetic data, with the words half fine-grained."""
    source, images = synthetic(folder, contract)
    cache = FrameCache(
        pictures=read_pictures(source, images, lambda _, __: None),
        state=source.state,
        action=source.action,
        starts=source.starts,
        fine=tuple(source.tasks.values()),
        raw=(RAW,) * EPISODES,
        groups=(RAW,) * EPISODES,
        dataset_hash="synthetic",
        images=images,
    )
    rows = JointStatistics.of(contract.joint_names, cache.action)
    chain = Chain((Normalize(rows, (0.08,) * contract.dof),))
    codec = Vocabulary.from_texts(training_texts(cache, np.arange(EPISODES)))

    def loader(data: FrameCache) -> BatchSource:
        return BatchSource(data, codec, chain, chain, contract.horizon, REST_STEPS, Mix.parse("1:1"))

    on_demand = replace(cache, pictures=VideoStore(source, images))
    return Loaders(loader(cache), loader(on_demand), np.arange(len(cache.state)))


def require_equal(loaders: Loaders) -> None:
    """Compares batches of all ways to make them.

    Raises:
        SystemExit: Two of them differ.
    """
    steps = range(3)
    plain = [loaders.memory.draw(loaders.frames, BATCH, 0, step) for step in steps]
    ways: dict[str, list[Batch]] = {
        "video store": [loaders.video.draw(loaders.frames, BATCH, 0, step) for step in steps],
        "two ranks": [_joined(loaders, step) for step in steps],
    }
    with Prefetch(lambda step: loaders.memory.draw(loaders.frames, BATCH, 0, step), 0, 3) as ahead:
        ways["prefetching"] = list(ahead)
    for way, batches in ways.items():
        for step, (one, other) in enumerate(zip(plain, batches, strict=True)):
            if not all(map(torch.equal, _parts(one), _parts(other))):
                sys.exit(
                    f"batches differ: {way}, step {step}; a faster loader of other batches scores nothing"
                )


def _parts(batch: Batch) -> list[torch.Tensor]:
    return [*batch.inputs, batch.target, batch.valid]


def _joined(loaders: Loaders, step: int) -> Batch:
    halves = [loaders.memory.draw(loaders.frames, BATCH, 0, step, rank, 2) for rank in range(2)]
    pictures, words, state, target, valid = map(torch.cat, zip(*map(_parts, halves), strict=True))
    return Batch(type(halves[0].inputs)(pictures, words, state), target, valid)


def samples_per_s(work: Callable[[int], object], repeats: int) -> float:
    """Samples per CPU second of this process over `repeats` steps."""
    start = time.process_time()
    for step in range(repeats):
        work(step)
    return BATCH * repeats / (time.process_time() - start)


def updates(network: PolicyNetwork, batch: Batch) -> Callable[[int], object]:
    """One training update on a batch that is there already."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def update(_: int) -> None:
        loss = network.loss(batch.inputs, batch.target, batch.valid)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return update


def measure(rounds: int) -> dict[str, Any]:
    """The whole benchmark; the report as JSON values."""
    torch.set_num_threads(1)
    contract = load_contract()
    with tempfile.TemporaryDirectory() as folder:
        loaders = make_loaders(Path(folder), contract)
        require_equal(loaders)
        size = Vocabulary.from_texts([RAW, *(_fine(e) for e in range(EPISODES))]).size
        config = preset("compact", dof=contract.dof, horizon=contract.horizon, vocabulary_size=size)
        update = updates(build_network(config, 0), loaders.memory.draw(loaders.frames, BATCH, 0, 0))
        work: dict[str, tuple[Callable[[int], object], int]] = {
            "memory": (lambda step: loaders.memory.draw(loaders.frames, BATCH, 0, step), 20),
            "video": (lambda step: loaders.video.draw(loaders.frames, BATCH, 0, step), 3),
            "model": (update, 5),
        }
        for job, _ in work.values():
            job(0)
        table = [{name: samples_per_s(*job) for name, job in work.items()} for _ in range(rounds)]
    ratios = {name: [row[name] / row["model"] for row in table] for name in ("memory", "video")}
    return {
        "benchmark": "loader",
        "equal": True,
        "batch_size": BATCH,
        "rounds": rounds,
        "samples_per_cpu_s": {n: round(statistics.median(row[n] for row in table), 1) for n in work},
        "ratio": {name: round(statistics.median(values), 2) for name, values in ratios.items()},
        "ratio_range": {name: [round(f(values), 2) for f in (min, max)] for name, values in ratios.items()},
        "floor": {"memory": FLOOR},
        "holds": statistics.median(ratios["memory"]) >= FLOOR,
    }


def main() -> int:
    """Measures, prints the report, and says by its exit code whether the floor holds."""
    parser = report_flags("Loader against model, samples per CPU second.")
    parser.add_argument("--rounds", type=int, default=9, help="rounds to take the median of")
    flags = parser.parse_args()
    report = {
        **measure(flags.rounds),
        **origin("python benchmarks/loader.py", "torch", "torchcodec", "av", "numpy"),
    }
    return finish(report, flags, _table)


def _table(report: dict[str, Any]) -> str:
    speeds, ratio, span = report["samples_per_cpu_s"], report["ratio"], report["ratio_range"]
    lines = [
        f"model   {speeds['model']:>9.0f} samples per CPU second (compact, batch {report['batch_size']})"
    ]
    for name in ("memory", "video"):
        floor = f", floor {FLOOR:g}" if name == "memory" else ""
        lines.append(f"{name:<7} {speeds[name]:>9.0f}, {ratio[name]:.2f} times the model {span[name]}{floor}")
    return "\n".join([*lines, f"floor {'holds' if report['holds'] else 'FAILS'}; {report['machine']}"])


if __name__ == "__main__":
    sys.exit(main())
