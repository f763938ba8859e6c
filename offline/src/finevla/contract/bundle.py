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

from finevla.contract.bundle_content import BundleContent, content_problems
from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import RobotContract, difference, document_hash
from finevla.contract.transforms import transform_from_json
from finevla.errors import BundleError, ContractError

__all__ = ["Bundle", "BundleContent", "read_bundle", "shipped_bundle", "write_bundle"]

FORMAT_VERSION = 1
DOCUMENT_FILE = "bundle.json"
WEIGHTS_FILE = "weights.safetensors"
_EXPORT_AGAIN = "export the bundle again with `finevla export`"
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "format_version": int,
    "signature": str,
    "files": dict,
    "contract": dict,
    "contract_hash": str,
    "joint_names": list,
    "model": dict,
    "images": dict,
    "dt_s": (int, float),
    "horizon": int,
    "vocabulary": list,
    "state": dict,
    "action": dict,
    "provenance": dict,
}
"""Fields of the document and what each must be."""


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
    wrong = [name for name, kind in _KINDS.items() if not isinstance(document.get(name), kind)]
    if wrong:
        raise BundleError(
            "a bundle lacks parts",
            where=path,
            expected=list(_KINDS),
            found=f"no {wrong}",
            remedy=_EXPORT_AGAIN,
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
    for problem, expected, found in content_problems(content, contract):
        raise BundleError(problem, where=path, expected=expected, found=found, remedy=_EXPORT_AGAIN)
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
    if set(listed) != {WEIGHTS_FILE}:
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
    if document["joint_names"] != list(contract.joint_names):
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
