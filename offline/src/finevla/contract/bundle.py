"""The bundle: one directory that holds everything a policy needs to run, signed and verified.

`bundle.json` carries format version, contract with hash, model configuration, image transforms,
transforms with statistics, text codec, dimensions, provenance and the SHA-256 of every other file;
its own `signature` covers all of that. Weights are safetensors; `README.md` is the model card.
Reading refuses anything that does not match the robot at hand. No torch here, and no pickle anywhere.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from finevla.contract.bundle_card import model_card
from finevla.contract.bundle_content import BundleContent, content_problems
from finevla.contract.bundle_document import FORMAT_VERSION, check_robot, read_document, sign
from finevla.contract.bundle_files import CARD_FILE, DOCUMENT_FILE, check_names, verified_files
from finevla.contract.bundle_weights import (
    SHARD_BYTES,
    WEIGHTS_FILE,
    Tensors,
    digest,
    read_blob,
    read_tensors,
    shard_names,
    write_tensors,
)
from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import RobotContract
from finevla.contract.transforms import transform_from_json
from finevla.errors import BundleError, ContractError

__all__ = [
    "CARD_FILE",
    "DOCUMENT_FILE",
    "FORMAT_VERSION",
    "WEIGHTS_FILE",
    "Bundle",
    "BundleContent",
    "Tensors",
    "read_bundle",
    "shipped_bundle",
    "write_bundle",
]

_EXPORT_AGAIN = "export the bundle again with `finevla export`"


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and verified.

    Args:
        path: Its directory.
        content: What it says about its policy.
        signature: SHA-256 over the document, and through it over every file.
        weights: Tensors by name, read-only; bfloat16 ones are uint16 arrays with the same bits.
    """

    path: Path
    content: BundleContent
    signature: str
    weights: Mapping[str, NDArray[Any]]

    @property
    def checkpoint_id(self) -> str:
        """Short name for messages: directory name and the head of the signature."""
        return f"{self.path.name}@{self.signature[:12]}"

    @property
    def files(self) -> Mapping[str, bytes]:
        """Further files by name, such as `tokenizer.json`."""
        return self.content.files

    @property
    def tensors(self) -> Tensors:
        """The weights with their types."""
        return Tensors(self.weights)

    @property
    def bfloat16(self) -> frozenset[str]:
        """Names of the weights that are bfloat16."""
        return self.tensors.bfloat16


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
    out: Path,
    contract: RobotContract,
    content: BundleContent,
    weights: Mapping[str, NDArray[Any]],
    *,
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Writes a bundle to the new directory `out`; nothing is left behind if it fails.

    Args:
        out: Where to; it must not exist.
        contract: The robot that the policy was trained for.
        content: Everything but the weights.
        weights: float32, float16 or int64 arrays by name, or uint16 with the bits of bfloat16.
        shard_bytes: Weights that are larger are split over numbered files of about this size.

    Raises:
        BundleError: `out` exists, or the parts do not make a bundle that could be read again.
    """
    out = Path(out)
    if out.exists():
        raise BundleError(
            "the output exists already", where=out, remedy="choose a new directory or remove this one"
        )
    for problem, expected, found in content_problems(content, contract):
        raise BundleError(problem, where=out, expected=expected, found=found, remedy=_EXPORT_AGAIN)
    check_names(list(content.files), out)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write_files(partial, contract, content, Tensors(weights), shard_bytes)
        read_bundle(partial, contract)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _write_files(
    folder: Path, contract: RobotContract, content: BundleContent, tensors: Tensors, shard_bytes: int
) -> None:
    texts = {**content.files, CARD_FILE: model_card(contract, content, tensors).encode()}
    if len(texts) == len(content.files) or DOCUMENT_FILE in texts or shard_names(texts):
        raise BundleError(
            "an extra file has a name that the bundle uses itself",
            where=folder,
            found=sorted(content.files),
            remedy="give the file another name",
        )
    names = list(write_tensors(folder, tensors, shard_bytes))
    for name, blob in texts.items():
        (folder / name).write_bytes(blob)
        names.append(name)
    document: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "contract_hash": contract.hash,
        "joint_names": list(contract.joint_names),
        "model": dict(content.model),
        "images": {name: image.to_json() for name, image in content.images.items()},
        "dt_s": content.dt_s,
        "horizon": content.horizon,
        "text": dict(content.text),
        "dimensions": {slot: list(values) for slot, values in content.dimensions.items()},
        "state": content.state.to_json(),
        "action": content.action.to_json(),
        "provenance": dict(content.provenance),
        "contract": dict(contract.document),
        "files": {name: digest(read_blob(folder / name)) for name in sorted(names)},
    }
    document["signature"] = sign(document)
    (folder / DOCUMENT_FILE).write_text(json.dumps(document, indent=1) + "\n")


def read_bundle(path: Path, contract: RobotContract) -> Bundle:
    """Reads and verifies a bundle for the robot of `contract`.

    Raises:
        BundleError: Anything is missing, altered or made for another robot or format; the message
            names the difference.
    """
    path = Path(path).resolve()
    document = read_document(path)
    blobs = verified_files(path, document["files"])
    check_robot(document, contract, path)
    shards = shard_names(blobs)
    extra = {n: blob.tobytes() for n, blob in blobs.items() if n not in {*shards, CARD_FILE}}
    content = _content(document, extra, path)
    for problem, expected, found in content_problems(content, contract):
        raise BundleError(problem, where=path, expected=expected, found=found, remedy=_EXPORT_AGAIN)
    tensors = read_tensors([path / name for name in shards], [blobs[name] for name in shards])
    return Bundle(path, content, str(document["signature"]), tensors.arrays)


def _content(document: Mapping[str, Any], files: Mapping[str, bytes], path: Path) -> BundleContent:
    def part[T](name: str, build: Callable[[Any], T]) -> T:
        try:
            return build(document[name])
        except (ContractError, AttributeError, TypeError, ValueError, OverflowError) as err:
            reason = f"{err.what}: {err.found}" if isinstance(err, ContractError) else str(err)
            raise BundleError(
                f"the bundle has an unusable {name}: {reason}",
                where=path,
                expected=err.expected if isinstance(err, ContractError) else "",
                found=reason,
                remedy=_EXPORT_AGAIN,
            ) from err

    return BundleContent(
        model=document["model"],
        images=part("images", lambda images: {n: WorkspaceCrop.from_json(c) for n, c in images.items()}),
        dt_s=part("dt_s", float),
        horizon=document["horizon"],
        text=document["text"],
        dimensions=part("dimensions", lambda slots: {slot: tuple(v) for slot, v in slots.items()}),
        state=part("state", transform_from_json),
        action=part("action", transform_from_json),
        provenance=document["provenance"],
        files=files,
    )
