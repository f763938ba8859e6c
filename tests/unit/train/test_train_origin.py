"""`--init`: weights of another run or of a bundle, taken by name and, for words, by word."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from finevla.contract.bundle import BundleContent, write_bundle
from finevla.contract.images import WorkspaceCrop
from finevla.errors import PolicyError
from finevla.policy.config import OftConfig
from finevla.policy.lexicon import Lexicon
from finevla.policy.model import PolicyNetwork, build_network, network_weights
from finevla.policy.text import TextCodec, Vocabulary
from finevla.stages.train.origin import Origin, begin_at, read_origin

EMBEDDING = "backbone.text.embed.weight"


def origin_of(network: PolicyNetwork, codec: TextCodec, **changes: object) -> Origin:
    plain = Origin("other@1", network.config.to_json(), codec.to_json(), network_weights(network))
    return dataclasses.replace(plain, **changes)


def with_words(toy, codec: TextCodec, head: str = "oft", seed: int = 0) -> PolicyNetwork:
    config = toy.config(head)
    backbone = dataclasses.replace(config.backbone, vocabulary_size=codec.size)
    return build_network(dataclasses.replace(config, backbone=backbone), seed)


def test_all_weights_are_taken(toy) -> None:
    other, network = toy.network(seed=1), toy.network(seed=0)
    begun = begin_at(origin_of(other, toy.codec), network, toy.codec)
    theirs, ours = network_weights(other), network_weights(network)
    assert all(np.array_equal(theirs[name], ours[name]) for name in theirs)
    assert (begun.taken, begun.fresh, begun.new_words) == (len(theirs), (), ())


def test_a_head_of_another_kind_starts_fresh_on_the_same_trunk(toy) -> None:
    other, network, untouched = toy.network("oft", 1), toy.network("flow", 0), toy.network("flow", 0)
    begun = begin_at(origin_of(other, toy.codec), network, toy.codec)
    theirs, ours, fresh = map(network_weights, (other, network, untouched))
    for name, value in ours.items():
        assert np.array_equal(value, (fresh if name.startswith("head.") else theirs)[name]), name
    assert set(begun.fresh) == {name for name in ours if name.startswith("head.")}


@pytest.mark.parametrize("kind", [Vocabulary, Lexicon])
def test_embeddings_follow_their_words(toy, kind: Callable[..., TextCodec]) -> None:
    old = kind.from_texts(["lift the red cube", "push the cube"])
    new = kind.from_texts(["lift the blue cube", "push the red cube"])  # blue moves the others
    other, network = with_words(toy, old, seed=1), with_words(toy, new)
    fresh = network_weights(network)[EMBEDDING]
    begun = begin_at(origin_of(other, old), network, new)
    theirs, ours = network_weights(other)[EMBEDDING], network_weights(network)[EMBEDDING]
    for word in ("lift", "push", "red", "cube"):
        rows = [codec.encode(word)[0] for codec in (old, new)]
        assert np.array_equal(theirs[rows[0]], ours[rows[1]]), word
    blue = new.encode("blue")[0]
    assert np.array_equal(fresh[blue], ours[blue])
    assert [word.split(":")[-1] for word in begun.new_words] == ["blue"]


def test_what_does_not_fit_is_refused_by_name(toy) -> None:
    network = toy.network()
    before = network_weights(network)
    deeper = dataclasses.replace(toy.config(), head=OftConfig(hidden=16, blocks=1))
    with pytest.raises(PolicyError, match=r"head\."):
        begin_at(origin_of(build_network(deeper, 0), toy.codec), network, toy.codec)
    heads = dataclasses.replace(toy.config().backbone, attention_heads=2)  # the same shapes
    other = build_network(dataclasses.replace(toy.config(), backbone=heads), 0)
    with pytest.raises(PolicyError, match="attention_heads"):
        begin_at(origin_of(other, toy.codec), network, toy.codec)
    lexicon = Lexicon.from_texts(["lift the red cube"]).to_json()
    with pytest.raises(PolicyError, match="lexicon"):
        begin_at(origin_of(toy.network(), toy.codec, text=lexicon), network, toy.codec)
    cameras = build_network(dataclasses.replace(toy.config(), cameras=2), 0)
    with pytest.raises(PolicyError, match=r"backbone\.camera"):
        begin_at(origin_of(cameras, toy.codec), network, toy.codec)
    after = network_weights(network)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_bundle_is_read(toy, tmp_path: Path) -> None:
    contract, network = toy.contract, toy.network(seed=1)
    camera = contract.cameras[contract.sync.pivot]
    whole = WorkspaceCrop((camera.width, camera.height), (0, 0, camera.width, camera.height), (32, 32))
    origin = {"dataset_hash": "x", "manifest_hash": "x", "mix": "fg", "commands": [], "seeds": {}}
    content = BundleContent(
        model=network.config.to_json(),
        images={camera.name: whole},
        dt_s=contract.frame_period_s,
        horizon=contract.horizon,
        text=toy.codec.to_json(),
        dimensions={},
        state=toy.chain,
        action=toy.chain,
        provenance={**origin, "git_commit": "x", "steps": 1, "episodes": 1, "frames": 1},
    )
    path = write_bundle(tmp_path / "bundle", contract, content, network_weights(network))
    found = read_origin(path, contract)
    assert found.name.startswith("bundle@")
    assert begin_at(found, toy.network(), toy.codec).fresh == ()
    with pytest.raises(PolicyError, match="not a training directory"):
        read_origin(tmp_path, contract)
