"""The paired evaluation with a real bundle: one of an untrained network."""

import json

import numpy as np
import pytest

pytest.importorskip("sapien", reason="sapien is not installed (requirements/sim.txt)")
pytest.importorskip("torch", reason="torch is not installed (requirements/learn.txt)")

from finevla.contract import load_contract
from finevla.contract.bundle import BundleContent, write_bundle
from finevla.contract.images import WorkspaceCrop
from finevla.contract.transforms import Chain, JointStatistics, Normalize
from finevla.errors import BundleError
from finevla.policy.config import CompactConfig, PolicyConfig
from finevla.policy.model import build_network, network_weights
from finevla.policy.text import Vocabulary
from finevla.sim.language import words
from finevla.stages.evaluate.paired_verb import Config, main

pytestmark = pytest.mark.sim


def untrained(path, known):
    contract = load_contract()
    vocabulary = Vocabulary.from_texts([" ".join(known)])
    rows = np.random.default_rng(0).uniform(contract.lower, contract.upper, (100, contract.dof))
    chain = Chain((Normalize(JointStatistics.of(contract.joint_names, rows), (0.01,) * contract.dof),))
    backbone = CompactConfig(vocabulary_size=vocabulary.size)
    config = PolicyConfig(cameras=1, dof=contract.dof, horizon=contract.horizon, backbone=backbone)
    content = BundleContent(
        model=config.to_json(),
        images={contract.sync.pivot: WorkspaceCrop((320, 240), (102, 50, 218, 166))},
        dt_s=contract.frame_period_s,
        horizon=contract.horizon,
        text=vocabulary.to_json(),
        dimensions={},
        state=chain,
        action=chain,
        provenance={
            "dataset_hash": "none",
            "manifest_hash": "none",
            "mix": "fg",
            "commands": [],
            "seeds": {"network": 0},
            "git_commit": "none",
            "steps": 0,
            "episodes": 0,
            "frames": 0,
        },
    )
    write_bundle(path, contract, content, network_weights(build_network(config, seed=0)))
    return path


def test_an_untrained_policy_is_measured_and_fails(tmp_path):
    out = tmp_path / "out.json"
    bundle = untrained(tmp_path / "bundle", words())
    assert main(Config(bundle=bundle, n=1, max_frames=4, workers=1, json=out)) == 0
    document = json.loads(out.read_text())
    assert set(document["factors"]) == {"arm", "color"}
    assert document["avg_id"] == 50.0 * sum(row["compliance"] for row in document["factors"].values())
    for row in document["factors"].values():
        assert row["success"] == 0.0
        assert row["switch_rate"] == 0.0
        assert {"n", "compliance", "success", "ci95"} <= set(row)
    assert document["provenance"]["checkpoint_id"] not in {"", "expert"}


def test_a_sentence_that_the_policy_refuses_is_counted_as_such(tmp_path):
    out = tmp_path / "out.json"
    bundle = untrained(tmp_path / "bundle", [word for word in words() if word != "left"])
    config = Config(
        policy=str(bundle), factors="arm", n=1, probes=1, max_frames=4, workers=1, json=out, runs=True
    )
    assert main(config) == 0
    document = json.loads(out.read_text())
    assert document["factors"]["arm"]["refused"] == 1
    first, second = document["runs"]
    assert ("left" in first["text"], "left" in first["refused"], first["frames"]) == (True, True, 0)
    assert (second["refused"], second["frames"]) == ("", 4)
    assert document["probes"]["empty"]["refused"] == 1
    assert document["probes"]["trailing_dot"]["as_expected"] == 0.0


def test_a_bundle_of_another_robot_is_refused_before_anything_runs(tmp_path):
    out = tmp_path / "out.json"
    bundle = untrained(tmp_path / "bundle", words())
    path = bundle / "bundle.json"
    document = json.loads(path.read_text())
    document["contract"]["name"] = "another_robot"
    path.write_text(json.dumps(document))
    with pytest.raises(BundleError):
        main(Config(bundle=bundle, n=1, json=out))
    assert not out.exists()
