"""The loader refuses every wrong bundle, each in its own words, before there is a policy that could move."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from bundles import edit, put_file, scale, statistics
from finevla_policy.loading import bundle_loader
from safetensors.numpy import load_file, save

from finevla.contract import RobotContract
from finevla.contract.bundle import CARD_FILE, DOCUMENT_FILE, WEIGHTS_FILE, BundleContent, write_bundle
from finevla.contract.robot import contract_from_document
from finevla.errors import BundleError
from finevla.policy import inference
from finevla.policy.inference import load_policy


class Case(NamedTuple):
    """One way in which a bundle is wrong: what is done to it, and the words of the refusal."""

    name: str
    spoil: Callable[[Path], object]
    what: str


def document(name: str, change: Callable[[dict[str, Any]], object], what: str) -> Case:
    return Case(name, lambda bundle: edit(bundle, change), what)


def weights(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def spoil(bundle: Path) -> None:
        arrays = load_file(bundle / WEIGHTS_FILE)
        change(arrays)
        put_file(bundle, WEIGHTS_FILE, save(arrays))

    return spoil


def flip(name: str) -> Callable[[Path], None]:
    def spoil(bundle: Path) -> None:
        blob = bytearray((bundle / name).read_bytes())
        blob[-1] ^= 1
        (bundle / name).write_bytes(blob)

    return spoil


def rename_joint(d: dict[str, Any]) -> None:
    d["joint_names"][0] = "left_elbow"


def thirteen(d: dict[str, Any]) -> None:
    for column in ("names", "mean", "std", "minimum", "maximum"):
        statistics(d)[column].pop()
    d["action"]["steps"][0]["floor"].pop()


def still(d: dict[str, Any], joints: list[int], part: str = "action") -> None:
    found = statistics(d, part)
    for joint in joints:
        found["minimum"][joint] = found["maximum"][joint] = found["mean"][joint]
        found["std"][joint] = 0.0


def put(d: dict[str, Any], column: str, joint: int, value: float) -> None:
    statistics(d)[column][joint] = value


GRIPPERS = (6, 13)
ANGLES = tuple(i for i in range(14) if i not in GRIPPERS)

CASES = (
    # The folder
    Case("no document", lambda b: (b / DOCUMENT_FILE).unlink(), "this is not a bundle"),
    Case("not JSON", lambda b: (b / DOCUMENT_FILE).write_text("{"), "bundle.json is not JSON"),
    Case("not a mapping", lambda b: (b / DOCUMENT_FILE).write_text("[]"), "bundle.json is not a mapping"),
    Case(
        "altered document",
        lambda b: edit(b, lambda d: d.update(horizon=8), signed=False),
        "after it was signed",
    ),
    Case("altered weights", flip(WEIGHTS_FILE), "weights.safetensors was altered"),
    Case("altered tokenizer", flip("tokenizer.json"), "tokenizer.json was altered"),
    Case("altered card", flip(CARD_FILE), "README.md was altered"),
    Case("missing weights", lambda b: (b / WEIGHTS_FILE).unlink(), "weights.safetensors is missing"),
    Case("missing tokenizer", lambda b: (b / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    Case("unlisted file", lambda b: (b / "notes.txt").write_text("x"), "holds files that it does not list"),
    Case(
        "weights not listed", lambda b: edit(b, lambda d: d["files"].pop(WEIGHTS_FILE)), "lists other files"
    ),
    Case("pickle", lambda b: put_file(b, "weights.pkl", b"\x80\x04."), "can run code"),
    Case("no safetensors", lambda b: put_file(b, WEIGHTS_FILE, b"PK\x03\x04" * 9), "read as safetensors"),
    document("way out", lambda d: d["files"].update({"../x": "0" * 64}), "outside of its folder"),
    # The document
    document("format 1", lambda d: d.update(format_version=1), "old format 1"),
    document("format 3", lambda d: d.update(format_version=3), "another format version"),
    document("no text", lambda d: d.pop("text"), "lacks text"),
    document("horizon true", lambda d: d.update(horizon=True), "unusable horizon"),
    document("other joints", rename_joint, "other joints than"),
    document("joint order", lambda d: d["joint_names"].reverse(), "another joint order"),
    document(
        "other contract", lambda d: d["contract"]["rates_hz"].update(camera=15), "another robot contract"
    ),
    document("no camera", lambda d: d.update(images={}), "uses no camera"),
    document(
        "absent camera", lambda d: d["images"].update(cam=next(iter(d["images"].values()))), "uses cameras"
    ),
    document(
        "camera size",
        lambda d: next(iter(d["images"].values())).update(source=[640, 480]),
        "other sizes of camera pictures",
    ),
    document("timing", lambda d: d.update(dt_s=0.5), "another time between two targets"),
    document("horizon", lambda d: d.update(horizon=8), "another horizon"),
    document("text type", lambda d: d["text"].update(type="latin"), "unknown type of text codec"),
    document("no words", lambda d: d["text"].update(words=[]), "knows no words"),
    document("words twice", lambda d: d["text"].update(words=["red", "red"]), "repeated words"),
    document("words are numbers", lambda d: d["text"].update(words=[1, 2]), "are not words"),
    document("no longest", lambda d: d["text"].update(max_words=0), "longest sentence"),
    document("slot", lambda d: d["dimensions"].update(mood=["calm"]), "slots that the ten dimensions"),
    document("values", lambda d: d["dimensions"].update(color=["red", "blue"]), "values of a dimension"),
    document(
        "no origin", lambda d: d["provenance"].pop("manifest_hash"), "does not tell where it comes from"
    ),
    document("bad origin", lambda d: d["provenance"].update(steps="many"), "in an unusable way"),
    document("mixture", lambda d: d["provenance"].update(mix="mostly raw"), "unknown mixture"),
    # The statistics
    document("no action", lambda d: d.pop("action"), "lacks action"),
    document("13 joints", thirteen, "action statistics have other joints"),
    document("NaN", lambda d: put(d, "mean", 0, float("nan")), "unusable action: .*mean is not finite"),
    document("negative spread", lambda d: put(d, "std", 0, -1.0), "unusable action: .*contradict"),
    document("nothing moves", lambda d: still(d, list(range(14))), "unusable action: .*zero range"),
    document("one joint is still", lambda d: still(d, [2]), "action statistics have a range of zero"),
    document("dead feedback", lambda d: still(d, [2], "state"), "state statistics have a range of zero"),
    document("degrees", lambda d: scale(d, "action", dict.fromkeys(ANGLES, 57.2958)), "in degrees"),
    document(
        "millidegrees", lambda d: scale(d, "action", dict.fromkeys(ANGLES, 57295.8)), "thousandths of a deg"
    ),
    document(
        "state in degrees", lambda d: scale(d, "state", dict.fromkeys(ANGLES, 57.2958)), "state .* degrees"
    ),
    document("gripper 0..1", lambda d: scale(d, "action", dict.fromkeys(GRIPPERS, 1 / 0.07)), "from 0 to 1"),
    document("gripper percent", lambda d: scale(d, "action", dict.fromkeys(GRIPPERS, 100 / 0.07)), "percent"),
    document(
        "gripper um", lambda d: scale(d, "state", dict.fromkeys(GRIPPERS, 1e6)), "thousandths of a milli"
    ),
    document("extremes", lambda d: put(d, "maximum", 0, 4.5), "far beyond the joint limits"),
    document(
        "mean beyond", lambda d: (put(d, "mean", 0, 2.9), put(d, "maximum", 0, 3.0)), "means lie outside"
    ),
    document(
        "large scale", lambda d: d["action"]["steps"][0]["floor"].__setitem__(0, 9.0), "scale is larger"
    ),
    document(
        "small scale",
        lambda d: (put(d, "std", 0, 1e-6), d["action"]["steps"][0]["floor"].__setitem__(0, 1e-6)),
        "scale explodes",
    ),
    document("impossible spread", lambda d: put(d, "std", 0, 3.0), "spread is larger"),
    document("few frames", lambda d: statistics(d).update(count=12), "too few frames"),
    # The weights
    Case("NaN in weights", weights(lambda w: w["head.out.bias"].fill(np.nan)), "weights are not finite"),
    Case("no weights", weights(lambda w: w.clear()), "weights are empty"),
    Case("doubles", weights(lambda w: w.update(x=np.zeros(2))), "cannot be read as safetensors.*F64"),
    Case("shape", weights(lambda w: w.update({"head.queries": w["head.queries"][:, 1:]})), "cannot be built"),
    document("model", lambda d: d["model"]["backbone"].update(type="huge"), "built .*configuration"),
)


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory,
    contract: RobotContract,
    content: BundleContent,
    weights: dict[str, np.ndarray],
) -> Path:
    files = {"tokenizer.json": b'{"tokens": []}'}
    out = tmp_path_factory.mktemp("template") / "bundle"
    return write_bundle(out, contract, replace(content, files=files), weights)


def refusal(case: Case, template: Path, folder: Path, load: Callable[[Path], object]) -> BundleError:
    bundle = shutil.copytree(template, folder / "bundle")
    case.spoil(bundle)
    with pytest.raises(BundleError) as caught:
        load(bundle)
    shutil.rmtree(bundle)
    return caught.value


def words_of(error: BundleError) -> str:
    return f"{error.what} | {error.found}"


def test_the_template_is_right(template: Path, contract: RobotContract) -> None:
    assert load_policy(template, contract).known_words


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_wrong_bundle_is_refused_in_its_own_words(
    case: Case, template: Path, tmp_path: Path, contract: RobotContract
) -> None:
    error = refusal(case, template, tmp_path, lambda bundle: load_policy(bundle, contract))
    assert re.search(case.what, words_of(error)), words_of(error)
    assert error.remedy
    assert error.where


def test_no_two_refusals_sound_the_same(template: Path, tmp_path: Path, contract: RobotContract) -> None:
    said: dict[str, str] = {}
    for case in CASES:
        error = refusal(case, template, tmp_path, lambda bundle: load_policy(bundle, contract))
        built = "cannot be built into a policy" in error.what  # `found` then says what PolicyError said
        words = words_of(error) if built else error.what
        assert words not in said, f"{case.name} and {said[words]}: {words}"
        said[words] = case.name
    assert len(said) == len(CASES) > 40


def test_another_contract_is_refused_with_the_difference(template: Path, contract: RobotContract) -> None:
    document = copy.deepcopy(dict(contract.document))
    document["rates_hz"]["camera"] = 15
    with pytest.raises(BundleError) as caught:
        load_policy(template, contract_from_document(document))
    assert "rates_hz.camera: 15 != 30" in caught.value.found


def test_an_old_bundle_is_told_how_to_become_a_new_one(
    template: Path, tmp_path: Path, contract: RobotContract
) -> None:
    old = next(case for case in CASES if case.name == "format 1")
    remedy = refusal(old, template, tmp_path, lambda bundle: load_policy(bundle, contract)).remedy
    assert "finevla train" in remedy
    assert "finevla export" in remedy


def test_a_pickle_that_only_lies_in_the_folder_is_refused_too(
    template: Path, tmp_path: Path, contract: RobotContract
) -> None:
    for name in ("model.pt", "model.bin", "weights.pkl"):
        case = Case(name, lambda bundle, name=name: (bundle / name).write_bytes(b"x"), "can run code")
        error = refusal(case, template, tmp_path, lambda bundle: load_policy(bundle, contract))
        assert case.what in error.what


def node_loads(bundle: Path, contract: RobotContract) -> object:
    return bundle_loader(contract, 1)(str(bundle))


WITHOUT_ACTION_STATISTICS: tuple[Callable[[dict[str, Any]], object], ...] = (
    lambda d: d.pop("action"),
    lambda d: d.update(action=None),
    lambda d: d.update(action={}),
    lambda d: d.update(action={"type": "identity"}),
    lambda d: d["action"].update(steps=[]),
    lambda d: d["action"]["steps"][0].pop("statistics"),
    lambda d: d["action"]["steps"][0].update(statistics=None),
    lambda d: d["action"]["steps"][0].update(statistics={}),
    lambda d: statistics(d).pop("mean"),
    lambda d: statistics(d).update(std=None),
    lambda d: statistics(d).update(names=[], mean=[], std=[], minimum=[], maximum=[]),
    lambda d: d["action"]["steps"][0].pop("floor"),
)


@pytest.mark.parametrize("change", WITHOUT_ACTION_STATISTICS)
@pytest.mark.parametrize("loader", ["load_policy", "node"])
def test_missing_action_statistics_can_never_become_motion(
    change: Callable[[dict[str, Any]], object],
    loader: str,
    template: Path,
    tmp_path: Path,
    contract: RobotContract,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The refusal comes before there is a network, by the library's loader and by that of the node."""
    built: list[object] = []
    monkeypatch.setattr(inference, "restore_network", lambda *args: built.append(args))
    bundle = shutil.copytree(template, tmp_path / "bundle")
    edit(bundle, change)
    load = {
        "load_policy": lambda: load_policy(bundle, contract),
        "node": lambda: node_loads(bundle, contract),
    }
    with pytest.raises(BundleError) as caught:
        load[loader]()
    assert not built
    assert re.search("action|statistics|transform", words_of(caught.value))
