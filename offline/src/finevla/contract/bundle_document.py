"""`bundle.json`: read, of this format, whole, unaltered and made for the robot at hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finevla.contract.bundle_files import CARD_FILE, DOCUMENT_FILE
from finevla.contract.bundle_weights import WEIGHTS_FILE
from finevla.contract.robot import RobotContract, difference, document_hash
from finevla.errors import BundleError

FORMAT_VERSION = 2
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
    "text": dict,
    "dimensions": dict,
    "state": dict,
    "action": dict,
    "provenance": dict,
}
"""Fields of the document and what each must be."""


def sign(document: Mapping[str, Any]) -> str:
    """SHA-256 of a document without its signature."""
    return document_hash({key: value for key, value in document.items() if key != "signature"})


def read_document(path: Path) -> dict[str, Any]:
    """The document of a bundle of this format, whole and as it was signed.

    Raises:
        BundleError: It is not there, of another format, incomplete or altered.
    """
    document = _load(path)
    _check_version(document, path)
    _check_kinds(document, path)
    _check_signature(document, path)
    return document


def _load(path: Path) -> dict[str, Any]:
    try:
        text = (path / DOCUMENT_FILE).read_bytes()
    except OSError as err:
        raise BundleError(
            "this is not a bundle",
            where=path,
            expected=f"a directory with {DOCUMENT_FILE}, {CARD_FILE} and {WEIGHTS_FILE}",
            found=err,
            remedy="give the directory that `finevla export` wrote",
        ) from err
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise BundleError(
            f"{DOCUMENT_FILE} is not JSON", where=path, found=err, remedy=_EXPORT_AGAIN
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
    found = document.get("format_version")
    if found == FORMAT_VERSION:
        return
    what, remedy = "the bundle has another format version", "use the version of the library that wrote it"
    if found == 1:
        what = "the bundle is of the old format 1"
        remedy = (
            "make one of format 2: train again with `finevla train`, then `finevla export TRAIN_DIR --out "
            "BUNDLE`; format 2 records mixture, manifest and dimensions, which format 1 does not know"
        )
    raise BundleError(what, where=path, expected=FORMAT_VERSION, found=found, remedy=remedy)


def _check_kinds(document: Mapping[str, Any], path: Path) -> None:
    if lacking := [name for name in _KINDS if name not in document]:
        raise BundleError(
            f"the bundle lacks {', '.join(lacking)}",
            where=path,
            expected=list(_KINDS),
            found=sorted(document),
            remedy=_EXPORT_AGAIN,
        )
    wrong = {n: document[n] for n, kind in _KINDS.items() if not isinstance(document[n], kind)}
    wrong |= {n: document[n] for n in _KINDS if isinstance(document[n], bool)}
    if wrong:
        raise BundleError(
            f"the bundle has an unusable {', '.join(wrong)}",
            where=path,
            expected={name: str(_KINDS[name]) for name in wrong},
            found=wrong,
            remedy=_EXPORT_AGAIN,
        )


def _check_signature(document: Mapping[str, Any], path: Path) -> None:
    found = sign(document)
    if found != document["signature"]:
        raise BundleError(
            f"{DOCUMENT_FILE} was altered after it was signed",
            where=path,
            expected=document["signature"],
            found=found,
            remedy=_EXPORT_AGAIN,
        )


def check_robot(document: Mapping[str, Any], contract: RobotContract, path: Path) -> None:
    """Refuses a bundle of another robot.

    Raises:
        BundleError: Joints, their order or anything else of the contract differ; each is named.
    """
    ours, theirs = list(contract.joint_names), document["joint_names"]
    if theirs != ours:
        same = sorted(map(str, theirs)) == sorted(ours)
        raise BundleError(
            f"the bundle has {'another joint order' if same else 'other joints'} than the robot",
            where=path,
            expected=ours,
            found=theirs,
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
