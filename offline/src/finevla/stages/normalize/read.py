"""Which columns of a LeRobot dataset are which slot of the unified vector; what is not known is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from finevla.contract import keys, unified
from finevla.contract.robot import ARM_SIDES, RobotContract, load_contract
from finevla.dataset.modality import FILE, Rotation, Slice, read_modality
from finevla.dataset.read import Opened
from finevla.dataset.stats import values
from finevla.errors import DatasetError
from finevla.stages.import_.raw import UnusableEpisodeError
from finevla.stages.normalize.actions import WIDTHS, XYZ, ActionType, Array, Form

FORMS: Mapping[Rotation, Form] = {
    "axis_angle": "rotvec",
    "quaternion": "quat",
    "quaternion_wxyz": "wxyz",
    "euler_angles_rpy": "euler",
}
"""Rotations of `modality.json` that are read; other orders of angles are told apart by no file."""
SUFFIX = ".pos"
"""What LeRobot's recorders append to the name of a joint."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where the values of a slot are.

    Attributes:
        slot: The slot.
        column: The column.
        width: Number of dimensions that the column has.
        places: Dimensions that are taken, in order.
        kind: What they mean.
    """

    slot: str
    column: str
    width: int
    places: tuple[int, ...]
    kind: ActionType

    def values(self, table: pa.Table) -> Array:
        """The values, (T, n).

        Raises:
            UnusableEpisodeError: The column is missing, or has another number of dimensions in this episode.
        """
        try:
            rows = values(table, self.column).reshape(len(table), -1)
            found: object = f"{rows.dtype}, {rows.shape[1]} dimensions"
        except (KeyError, ValueError, pa.ArrowException) as err:
            rows, found = np.zeros((0, 0)), repr(err)
        if rows.shape[1] != self.width or rows.dtype.kind not in "fiu":
            raise UnusableEpisodeError(
                "other_shape",
                "a column has another shape than the dataset says, as if of another robot",
                where=self.column,
                expected=f"{self.width} numbers per frame",
                found=found,
                remedy="",
            )
        return rows[:, list(self.places)].astype(np.float64)


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything that is taken from a dataset.

    Attributes:
        state: Fields of the state, by the order of the slots.
        action: Those of the action.
        unused: What has no slot.
        told_by: What says so.
    """

    state: tuple[Field, ...]
    action: tuple[Field, ...]
    unused: tuple[str, ...]
    told_by: str

    def sides(self) -> tuple[str, ...]:
        """Arms that state or action have."""
        present = {unified.slot_of(field.slot).side for field in (*self.state, *self.action)}
        return tuple(side for side in ARM_SIDES if side in present)


def layout_of(opened: Opened, state: ActionType | None = None, action: ActionType | None = None) -> Layout:
    """Reads what the columns of a dataset are.

    Args:
        opened: The dataset.
        state: Type of its state as the user gives it, where the dataset does not tell.
        action: The same of its action.

    Raises:
        DatasetError: It cannot be known, or contradicts itself.
    """
    if unified.STATE in opened.features:
        raise DatasetError(
            "the dataset is normalized already",
            where=opened.root,
            found=unified.STATE,
            remedy="give the dataset that it was made of",
        )
    if (opened.root / "meta" / FILE).is_file():
        layout = _by_modality(opened, state, action)
    else:
        layout = _by_names(opened, state, action)
    _check(layout, opened)
    return layout


def _by_modality(opened: Opened, state: ActionType | None, action: ActionType | None) -> Layout:
    modality = read_modality(opened.root, opened.features)
    where = f"meta/{FILE}"
    groups = {"state": (modality.state, state), "action": (modality.action, action)}
    taken = {
        group: [_field(opened, group, slot, part, told) for slot, part in slices.items() if _is_slot(slot)]
        for group, (slices, told) in groups.items()
    }
    unused = [
        f"{group}.{slot}" for group, (slices, _) in groups.items() for slot in slices if not _is_slot(slot)
    ]
    return Layout(_ordered(taken["state"]), _ordered(taken["action"]), tuple(unused), where)


def _is_slot(name: str) -> bool:
    return name in unified.SLOTS and name != unified.RESERVED


def _field(opened: Opened, group: str, slot: str, part: Slice, told: ActionType | None) -> Field:
    """A field from an entry of `modality.json` and what the user says where it says nothing."""
    width = int(opened.features[part.original_key]["shape"][0])
    pose = unified.slot_of(slot).part == unified.EEF
    limb = pose or unified.slot_of(slot).part == unified.JOINT
    mine = told if told is not None and limb and pose == (told.form != "joint") else None
    time = mine.time if mine else "abs" if part.absolute else "delta"
    form: Form = "joint"
    if pose:
        form = _form(opened, f"{group}.{slot}", part, mine)
    return Field(slot, part.original_key, width, tuple(range(part.start, part.end)), ActionType(time, form))


def _form(opened: Opened, slot: str, part: Slice, told: ActionType | None) -> Form:
    """How the rotation of a pose is written."""
    known = None if part.rotation is None else FORMS.get(part.rotation)
    form = told.form if told else known
    agrees = part.rotation is None or told is None or known == told.form
    if form is None or not agrees or part.width != XYZ + WIDTHS[form]:
        raise DatasetError(
            "it is not known how the rotation of an end effector is written",
            where=f"{opened.root}: {slot}, {part.width} numbers",
            expected=f"x, y, z and one of {', '.join(f'{k} ({v})' for k, v in WIDTHS.items())}",
            found=f"{part.rotation}" + (f", and {told} from the command line" if told else ""),
            remedy="ask those who recorded it, and give --state-type and --action-type, such as abs_rotvec",
        )
    return form


def _by_names(opened: Opened, state: ActionType | None, action: ActionType | None) -> Layout:
    contract = load_contract()
    fields: dict[str, list[Field]] = {}
    unused: list[str] = []
    for column, told in ((keys.STATE, state), (keys.ACTION, action)):
        names = [name.removesuffix(SUFFIX) for name in flat_names(opened.features.get(column, {}))]
        kind = told if told is not None else ActionType("abs", "joint")
        if kind.form != "joint":
            raise _unknown(opened, column, names, f"joints, which are never {kind}")
        fields[column] = list(_arms(opened, column, names, contract, kind))
        used = {place for field in fields[column] for place in field.places}
        unused += [f"{column}: {name}" for place, name in enumerate(names) if place not in used]
    return Layout(
        _ordered(fields[keys.STATE]), _ordered(fields[keys.ACTION]), tuple(unused), "names of the dimensions"
    )


def _arms(
    opened: Opened, column: str, names: Sequence[str], contract: RobotContract, kind: ActionType
) -> Iterator[Field]:
    """The arms of the contract whose joints are all among the names, each once."""
    found = False
    for side in ARM_SIDES:
        wanted = contract.arms[side].names
        counts = {name: names.count(name) for name in wanted}
        if not any(counts.values()):
            continue
        if set(counts.values()) != {1} or len(names) != int(opened.features[column]["shape"][0]):
            raise _unknown(opened, column, names, f"each of {', '.join(wanted)} once")
        places = [names.index(name) for name in wanted]
        yield Field(unified.slot_name(side, unified.JOINT), column, len(names), tuple(places[:-1]), kind)
        still = ActionType("abs", "joint")
        yield Field(unified.slot_name(side, unified.GRIPPER), column, len(names), tuple(places[-1:]), still)
        found = True
    if not found:
        raise _unknown(opened, column, names, f"meta/{FILE}, or the joint names of {contract.name}")


def flat_names(feature: Mapping[str, Any]) -> list[str]:
    """Names of the dimensions of a feature; some datasets keep them in a mapping."""

    def walk(names: Any) -> Iterator[str]:
        if isinstance(names, Mapping):
            for part in names.values():
                yield from walk(part)
        elif isinstance(names, list | tuple):
            yield from map(str, names)

    return list(walk(feature.get("names")))


def _ordered(fields: Sequence[Field]) -> tuple[Field, ...]:
    return tuple(sorted(fields, key=lambda field: unified.SLOTS[field.slot].start))


def _check(layout: Layout, opened: Opened) -> None:
    states = {field.slot: field for field in layout.state}
    found = f"state: {', '.join(states) or 'nothing'}; action: {', '.join(f.slot for f in layout.action)}"
    for group, fields in (("state", layout.state), ("action", layout.action)):
        if not fields:
            raise _refused(opened, f"no slot of the {group} is known", "one or more", found)
        for field in fields:
            if field.kind.form == "joint" and len(field.places) > unified.SLOTS[field.slot].size:
                size = unified.SLOTS[field.slot].size
                raise _refused(
                    opened, f"{field.slot} has too many values", f"at most {size}", len(field.places)
                )
    for field in layout.state:
        if field.kind.time != "abs":
            raise _refused(opened, f"the state of {field.slot} is not absolute", "abs", field.kind)
    for field in layout.action:
        state = states.get(field.slot)
        if field.kind.time == "rel":
            raise _refused(opened, "actions are read as abs or delta", "abs or delta", field.kind)
        if state is None and (field.kind.form != "joint" or field.kind.time != "abs"):
            raise _refused(opened, f"the action of {field.slot} has no state", f"a state {field.slot}", found)
        joints = field.kind.form == "joint"
        if state is not None and joints and len(state.places) != len(field.places):
            raise _refused(
                opened,
                f"state and action of {field.slot} have different widths",
                len(state.places),
                len(field.places),
            )


def _refused(opened: Opened, what: str, expected: object, found: object) -> DatasetError:
    return DatasetError(
        what,
        where=opened.root,
        expected=expected,
        found=found,
        remedy=f"mend meta/{FILE}, or give --state-type and --action-type",
    )


def _unknown(opened: Opened, column: str, names: Sequence[str], expected: str) -> DatasetError:
    return DatasetError(
        "it is not known which dimensions are which part of the robot",
        where=f"{opened.root}: {column}",
        expected=expected,
        found=", ".join(names) or f"no names; features {', '.join(opened.features)}",
        remedy=f"write meta/{FILE}, or import the dataset by `finevla import` with its source's name",
    )
