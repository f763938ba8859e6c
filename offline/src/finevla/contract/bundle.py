"""The bundle: one directory that holds everything a policy needs to run, signed and verified.

`bundle.json` carries format version, contract with hash, model configuration, image transforms,
transforms with statistics, vocabulary, provenance and the SHA-256 of every other file; its own
`signature` covers all of that. `weights.safetensors` carries the weights. Reading refuses anything
that does not match the robot at hand. No torch here, and no pickle anywhere.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import RobotContract, difference, document_hash
from finevla.contract.transforms import Transform, transform_from_json
from finevla.errors import BundleError, ContractError

FORMAT_VERSION = 1
DOCUMENT_FILE = "bundle.json"
WEIGHTS_FILE = "weights.safetensors"
PROVENANCE_KEYS = ("dataset_hash", "commands", "seeds", "git_commit")
"""What every bundle must tell about its making."""

_EXPORT_AGAIN = "export the bundle again with `finevla export`"
_KEYS = frozenset({
    "format_version", "signature", "files", "contract", "contract_hash", "joint_names", "model", "images",
    "dt_s", "horizon", "vocabulary", "state", "action", "provenance",
})  # fmt: skip
_LIMIT_SLACK = 0.05
"""Share of a joint's range by which a mean may lie outside its limits (sensor offsets)."""


@dataclass(frozen=True)
class BundleContent:
    """What a bundle says about its policy, weights apart.

    Args:
        model: Configuration of backbone and head, as `finevla.policy.config` writes it.
        images: Camera name to image transform, in the order in which the policy sees them.
        dt_s: Seconds between two targets of a chunk.
        horizon: Targets in a chunk.
        vocabulary: Words that the policy knows, in the order of their embeddings.
        state: Measured joints to policy numbers.
        action: Commanded joints to policy numbers; its inverse makes targets.
        provenance: Where the policy comes from; at least `PROVENANCE_KEYS`.
    """

    model: Mapping[str, Any]
    images: Mapping[str, WorkspaceCrop]
    dt_s: float
    horizon: int
    vocabulary: tuple[str, ...]
    state: Transform
    action: Transform
    provenance: Mapping[str, Any]

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras that the policy needs."""
        return tuple(self.images)


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and verified."""

    path: Path
    content: BundleContent
    signature: str
    weights: Mapping[str, NDArray[Any]]

    @property
    def checkpoint_id(self) -> str:
        """Short name for messages: directory name and the head of the signature."""
        return f"{self.path.name}@{self.signature[:12]}"


def shipped_bundle() -> Path:
    """Directory of the bundle that comes with the library.

    Raises:
        BundleError: The installation lacks it.
    """
    path = Path(str(resources.files("finevla"))) / "bundles" / "cobotmagic_demo"
    if not (path / DOCUMENT_FILE).is_file():
        raise BundleError(
            "the shipped bundle is not installed",
            where=path,
            expected=DOCUMENT_FILE,
            remedy="run `make reproduce-demo-bundle`, or give --bundle",
        )
    return path


def write_bundle(
    out: Path, contract: RobotContract, content: BundleContent, weights: Mapping[str, NDArray[Any]]
) -> Path:
    """Writes a bundle to the new directory `out`; nothing is left behind if it fails.

    Raises:
        BundleError: `out` exists, or the parts do not make a bundle that could be read again.
    """
    out = Path(out)
    if out.exists():
        raise BundleError(
            "the output exists already", where=out, remedy="choose a new directory or remove this one"
        )
    blob = save({name: np.ascontiguousarray(array) for name, array in weights.items()})
    document: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "contract_hash": contract.hash,
        "joint_names": list(contract.joint_names),
        "model": dict(content.model),
        "images": {name: image.to_json() for name, image in content.images.items()},
        "dt_s": content.dt_s,
        "horizon": content.horizon,
        "vocabulary": list(content.vocabulary),
        "state": content.state.to_json(),
        "action": content.action.to_json(),
        "provenance": dict(content.provenance),
        "contract": dict(contract.document),
        "files": {WEIGHTS_FILE: hashlib.sha256(blob).hexdigest()},
    }
    document["signature"] = _sign(document)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        (partial / WEIGHTS_FILE).write_bytes(blob)
        (partial / DOCUMENT_FILE).write_text(json.dumps(document, indent=1) + "\n")
        read_bundle(partial, contract)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def read_bundle(path: Path, contract: RobotContract) -> Bundle:
    """Reads and verifies a bundle for the robot of `contract`.

    Raises:
        BundleError: Anything is missing, altered or made for another robot or format; the message
            names the difference.
    """
    path = Path(path).resolve()
    document = _document(path)
    _check_version(document, path)
    missing = sorted(_KEYS - set(document))
    if missing:
        raise BundleError(
            "a bundle lacks parts", where=path, expected=sorted(_KEYS), found=missing, remedy=_EXPORT_AGAIN
        )
    blob = _verified_weights(document, path)
    _check_robot(document, contract, path)
    try:
        content = BundleContent(
            model=document["model"],
            images={n: WorkspaceCrop.from_json(c) for n, c in document["images"].items()},
            dt_s=float(document["dt_s"]),
            horizon=int(document["horizon"]),
            vocabulary=tuple(document["vocabulary"]),
            state=transform_from_json(document["state"]),
            action=transform_from_json(document["action"]),
            provenance=document["provenance"],
        )
    except (ContractError, AttributeError, TypeError, ValueError) as err:
        raise BundleError(
            "a bundle has an unusable part", where=path, found=err, remedy=_EXPORT_AGAIN
        ) from err
    _check_content(content, contract, path)
    return Bundle(path, content, str(document["signature"]), _weights(blob, path))


def _sign(document: Mapping[str, Any]) -> str:
    return document_hash({key: value for key, value in document.items() if key != "signature"})


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads((path / DOCUMENT_FILE).read_text())
    except (OSError, ValueError) as err:
        raise BundleError(
            "this is not a bundle",
            where=path,
            expected=f"a directory with {DOCUMENT_FILE} and {WEIGHTS_FILE}",
            found=err,
            remedy="give the directory that `finevla export` wrote",
        ) from err
    if not isinstance(document, dict):
        raise BundleError(
            f"{DOCUMENT_FILE} is not a mapping",
            where=path,
            found=type(document).__name__,
            remedy=_EXPORT_AGAIN,
        )
    return document


def _check_version(document: Mapping[str, Any], path: Path) -> None:
    if document.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            "the bundle has another format version",
            where=path,
            expected=FORMAT_VERSION,
            found=document.get("format_version"),
            remedy="export it again with this version of the library",
        )


def _verified_weights(document: Mapping[str, Any], path: Path) -> bytes:
    """Returns the bytes of the weights after checking all digests."""
    if _sign(document) != document["signature"]:
        raise BundleError(
            f"{DOCUMENT_FILE} was altered after it was signed",
            where=path,
            expected=document["signature"],
            found=_sign(document),
            remedy=_EXPORT_AGAIN,
        )
    listed = document["files"]
    if not isinstance(listed, Mapping) or set(listed) != {WEIGHTS_FILE}:
        raise BundleError(
            "the bundle lists other files than expected",
            where=path,
            expected=[WEIGHTS_FILE],
            found=listed,
            remedy=_EXPORT_AGAIN,
        )
    try:
        blob = (path / WEIGHTS_FILE).read_bytes()
    except OSError as err:
        raise BundleError(
            "a file of the bundle is missing", where=path, found=err, remedy=_EXPORT_AGAIN
        ) from err
    digest = hashlib.sha256(blob).hexdigest()
    if digest != listed[WEIGHTS_FILE]:
        raise BundleError(
            f"{WEIGHTS_FILE} was altered or damaged",
            where=path,
            expected=listed[WEIGHTS_FILE],
            found=digest,
            remedy="copy the bundle again, or export it again with `finevla export`",
        )
    return blob


def _check_robot(document: Mapping[str, Any], contract: RobotContract, path: Path) -> None:
    if list(document["joint_names"]) != list(contract.joint_names):
        raise BundleError(
            "the bundle has other joints or another joint order than the robot",
            where=path,
            expected=list(contract.joint_names),
            found=document["joint_names"],
            remedy="use a bundle that was trained for this robot",
        )
    if document["contract_hash"] != contract.hash or document_hash(document["contract"]) != contract.hash:
        lines = difference(contract.document, document["contract"])
        raise BundleError(
            "the bundle was made for another robot contract",
            where=path,
            expected=contract.hash,
            found="\n    ".join([str(document["contract_hash"]), "robot != bundle:", *lines]),
            remedy="use a bundle that was trained for this robot, or train again with this contract",
        )


def _check_content(content: BundleContent, contract: RobotContract, path: Path) -> None:
    for problem, expected, found in (
        *_shape_problems(content, contract),
        *_statistics_problems("state", content.state, contract),
        *_statistics_problems("action", content.action, contract),
    ):
        raise BundleError(problem, where=path, expected=expected, found=found, remedy=_EXPORT_AGAIN)


def _shape_problems(content: BundleContent, contract: RobotContract) -> list[tuple[str, object, object]]:
    """Contradictions between the parts and the robot, as (what, expected, found)."""
    problems: list[tuple[str, object, object]] = []
    known = {name: (spec.width, spec.height) for name, spec in contract.cameras.items()}
    used = {name: image.source for name, image in content.images.items()}
    if not used or any(known.get(name) != size for name, size in used.items()):
        problems.append(("the bundle uses cameras that the robot does not have", known, used))
    if content.horizon < 1 or abs(content.dt_s - contract.frame_period_s) > 1e-9:
        expected = f"dt_s {contract.frame_period_s}, horizon >= 1"
        problems.append(("the chunks have impossible timing", expected, (content.dt_s, content.horizon)))
    words = content.vocabulary
    if not words or len(set(words)) != len(words) or not all(isinstance(w, str) and w for w in words):
        problems.append(("the vocabulary is empty or has repeated words", "distinct words", words))
    lacking = [key for key in PROVENANCE_KEYS if key not in content.provenance]
    if lacking:
        problems.append(("the bundle does not tell where it comes from", PROVENANCE_KEYS, f"no {lacking}"))
    return problems


def _statistics_problems(
    part: str, transform: Transform, contract: RobotContract
) -> list[tuple[str, object, object]]:
    """Statistics of other joints, or with means that this robot cannot reach (degrees, say)."""
    if transform.names != contract.joint_names:
        return [(f"the {part} statistics have other joints", contract.joint_names, transform.names)]
    mean = transform.invert(np.zeros(contract.dof))
    slack = _LIMIT_SLACK * (contract.upper - contract.lower)
    outside = (mean < contract.lower - slack) | (mean > contract.upper + slack)
    if outside.any():
        means = {n: float(m) for n, m, bad in zip(contract.joint_names, mean, outside, strict=True) if bad}
        return [(f"the {part} statistics lie outside the joint limits", "rad and m within limits", means)]
    return []


def _weights(blob: bytes, path: Path) -> dict[str, NDArray[Any]]:
    try:
        weights: dict[str, NDArray[Any]] = load(blob)
    except (SafetensorError, KeyError, ValueError) as err:
        raise BundleError("the weights cannot be read", where=path, found=err, remedy=_EXPORT_AGAIN) from err
    bad = [name for name, array in weights.items() if not np.isfinite(array).all()]
    if bad or not weights:
        raise BundleError(
            "the weights are empty or not finite",
            where=path,
            found=bad or "no tensors",
            remedy="train again; look at the loss curve",
        )
    return weights
