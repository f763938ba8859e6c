"""The sentences of all tasks as tables: what is done, by task and family; held-out families and words.

A family is an order of clauses. Every task has one wording of its action per training family, in
the order of `FAMILIES`, and one wording in parts for the held-out families, which use no word that
the training sentences do not use. Fields in braces are filled in by `render`; `{approach}` and
`{bowl}` vanish where a goal leaves them open.
"""

from __future__ import annotations

from collections.abc import Mapping

FRAMES: Mapping[str, str] = {
    "tool_first": "use the {arm} arm to {action}",
    "action_first": "{action} with the {arm} arm",
    "your_arm": "with your {arm} arm {action}",
    "gripper_last": "{action} using the {arm} gripper",
    "subject": "the {arm} arm should {action}",
}
"""Training families, by name: who acts, and what is done."""

FAMILIES = tuple(FRAMES)
"""Names of the training families; a sentence's number counts round through them."""

SWAPPED_FRAMES: Mapping[str, str] = {
    "tool_first": "{action} with the {arm} arm",
    "action_first": "with the {arm} arm {action}",
    "your_arm": "{action} with your {arm} arm",
    "gripper_last": "using the {arm} gripper {action}",
    "subject": "{action} with the {arm} arm",
}
"""The same clauses in the other order."""

HELD_OUT_FRAMES: Mapping[str, str] = {
    "object_first": "{object} {verb} {rest} with the {arm} arm",
    "arm_between": "{verb} with the {arm} arm {object} {rest}",
}
"""Families that no training sentence has: the object before the verb, the arm between verb and object."""

HELD_OUT_FAMILIES = tuple(HELD_OUT_FRAMES)

ACTIONS: Mapping[str, tuple[str, str, str, str, str]] = {
    "pick_lift": (
        "pick up the {color} cube{approach}",
        "lift the {color} cube{approach}",
        "grasp the {color} cube{approach} and raise it",
        "pick up the {color} block{approach}",
        "take the {color} block{approach} and lift it off the table",
    ),
    "place_in_bowl": (
        "put the {color} cube into the {bowl}bowl",
        "place the {color} cube in the {bowl}bowl",
        "drop the {color} cube into the {bowl}bowl",
        "put the {color} block in the {bowl}bowl",
        "move the {color} block into the {bowl}bowl",
    ),
    "stack_blocks_two": (
        "stack the {second} cube on top of the {first} cube",
        "place the {second} cube on the {first} cube",
        "put the {first} block down first and then stack the {second} block on it",
        "stack the {first} block then the {second} block",
        "move the {first} block first and then put the {second} block on top of it",
    ),
    "stack_blocks_three": (
        "stack the {first} cube then the {second} cube then the {third} cube",
        "stack first the {first} cube then the {second} cube and then the {third} cube",
        "build a tower of the {first} block then the {second} block then the {third} block",
        "put the {first} block down first then stack the {second} block and then the {third} block on top",
        "move the {first} block first then put the {second} block and then the {third} block on top of it",
    ),
    "blocks_ranking_rgb": (
        "arrange the blocks in a row from left to right as red then green then blue",
        "line up the red cube then the green cube then the blue cube from left to right",
        "sort the blocks into a row of red then green then blue from left to right",
        "put the red block then the green block then the blue block in a row from left to right",
        "order the blocks from left to right as red then green then blue",
    ),
    "blocks_ranking_size": (
        "arrange the blocks in a row from left to right from largest to smallest",
        "line up the cubes from largest to smallest from left to right",
        "sort the blocks by size into a row from left to right from largest to smallest",
        "put the blocks in a row from largest to smallest from left to right",
        "order the blocks by size from left to right from largest to smallest",
    ),
    "handover_block": (
        "pick up the block and pass it to the other arm",
        "pass the block to the other arm",
        "grasp the block and give it to the other arm",
        "give the block to the other gripper",
        "take the block and pass it to the other gripper",
    ),
    "place_cup_on_coaster": (
        "take the cup by the {contact} and put it on the coaster",
        "place the cup on the coaster holding it by the {contact}",
        "grasp the cup by the {contact} and set it on the coaster",
        "grip the {contact} of the cup and put it on the coaster",
        "lift the cup by the {contact} and move it onto the coaster",
    ),
    "upright_bottle": (
        "put the bottle down so that it is {pose}",
        "place the bottle {pose} on the table",
        "grasp the bottle and leave it {pose}",
        "set the bottle {pose} on the table",
        "take the bottle and put it down {pose}",
    ),
    "rotate_block": (
        "turn the block {rotation}",
        "rotate the block {rotation}",
        "grasp the block and turn it {rotation}",
        "twist the block {rotation} on the table",
        "take the block and rotate it {rotation}",
    ),
    "move_around_obstacle": (
        "move the block around the {side} side of the obstacle",
        "carry the block past the obstacle on the {side} side",
        "grasp the block and bring it around the obstacle on the {side}",
        "carry the block around the {side} side of the obstacle",
        "take the block and move it past the {side} side of the obstacle",
    ),
    "press_button": (
        "press the {color} button",
        "push the {color} button",
        "touch the {color} button and press it",
        "press the {color} button on the table",
        "push the {color} button down",
    ),
    "clean_table": (
        "put {objects} into the tray",
        "place {objects} in the tray",
        "clean the table and move {objects} into the tray",
        "move {objects} into the tray",
        "clear the table and put {objects} into the tray",
    ),
}
"""What is done, by task, in the order of `FAMILIES`."""

PARTS: Mapping[str, tuple[str, str, str]] = {
    "pick_lift": ("pick up", "the {color} cube", "{approach}"),
    "place_in_bowl": ("put", "the {color} cube", "into the {bowl}bowl"),
    "stack_blocks_two": ("stack", "the {second} cube", "on top of the {first} cube"),
    "stack_blocks_three": ("stack", "the {first} cube then the {second} cube then the {third} cube", ""),
    "blocks_ranking_rgb": (
        "arrange",
        "the red cube then the green cube then the blue cube",
        "from left to right",
    ),
    "blocks_ranking_size": ("arrange", "the cubes", "from left to right from largest to smallest"),
    "handover_block": ("pass", "the block", "to the other arm"),
    "place_cup_on_coaster": ("take", "the cup", "by the {contact} and put it on the coaster"),
    "upright_bottle": ("put", "the bottle", "{pose} on the table"),
    "rotate_block": ("turn", "the block", "{rotation}"),
    "move_around_obstacle": ("move", "the block", "around the {side} side of the obstacle"),
    "press_button": ("press", "the {color} button", ""),
    "clean_table": ("put", "{objects}", "into the tray"),
}
"""Verb, object and rest of what is done, for the held-out families."""

RAW: Mapping[str, str] = {
    "pick_lift": "pick up a cube",
    "place_in_bowl": "put a cube into the bowl",
    "stack_blocks_two": "stack the two blocks",
    "stack_blocks_three": "stack the three blocks",
    "blocks_ranking_rgb": "sort the blocks by color in a row",
    "blocks_ranking_size": "sort the blocks by size in a row",
    "handover_block": "pass the block from one arm to the other",
    "place_cup_on_coaster": "put the cup on the coaster",
    "upright_bottle": "put the bottle down",
    "rotate_block": "turn the block",
    "move_around_obstacle": "move the block past the obstacle",
    "press_button": "press a button",
    "clean_table": "clean the table",
}
"""Sentences that name the task only: neither arm nor manner."""

HELD_OUT_WORDS: Mapping[str, str] = {
    "pick up": "fetch",
    "lift": "hoist",
    "raise": "elevate",
    "grasp": "clutch",
    "grip": "clutch",
    "take": "collect",
    "arm": "hand",
    "gripper": "claw",
    "cube": "brick",
    "cubes": "bricks",
    "block": "brick",
    "blocks": "bricks",
    "bowl": "dish",
    "put": "deposit",
    "place": "lay",
    "move": "relocate",
    "carry": "haul",
    "stack": "pile up",
    "build a tower of": "pile up",
    "pass": "hand over",
    "cup": "mug",
    "coaster": "mat",
    "bottle": "flask",
    "obstacle": "barrier",
    "turn": "spin",
    "rotate": "swivel",
    "twist": "swivel",
    "button": "knob",
    "press": "click",
    "push": "poke",
    "object": "item",
    "tray": "platter",
    "arrange": "align",
    "line up": "align",
}
"""Usual word or phrase -> the choice that only evaluation makes. The second never stands in training."""
