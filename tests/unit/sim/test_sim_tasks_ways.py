"""Ways round a pillar, buttons, approach from a side, and scenes that do not lie still."""

import numpy as np
import pytest

from finevla.errors import SimulationError
from finevla.sim.factors import other, values
from finevla.sim.goal import Goal
from finevla.sim.look import PLAIN, TEXTURES, draw_look
from finevla.sim.props import BUTTON_HEIGHT_M, BUTTON_TRAVEL_M
from finevla.sim.rollout import demonstrate
from finevla.sim.scene import COLORS, Kind, ObjectSpec, SceneSpec, cube, seeded
from finevla.sim.score import EpisodeMonitor
from finevla.sim.stability import check_stable, turn_between
from finevla.sim.tasks import goals, sample_scene, task_named
from finevla.sim.tasks.move_around_obstacle import PILLAR_M
from finevla.sim.tasks.press_button import BUTTON, PRESSED


def shown(world, spec, goal, noise=0.0):
    return demonstrate(world, goal, spec.seed, noise, spec=spec, template=0, cameras=())


@pytest.mark.parametrize("hard", [False, True])
def test_the_cube_passes_the_pillar_on_the_side_asked_for_and_clear_of_it(physics, hard):
    spec = sample_scene("move_around_obstacle", 12, hard=hard)
    pillar, name = spec.object("obstacle"), spec.of(Kind.CUBE)[0].name
    for goal in goals(spec):
        demo = shown(physics, spec, goal)
        assert demo.success, goal
        assert demo.score.observed["side"] == goal.side
        assert not any("obstacle" in touched for t in demo.truths for touched in t.touching.values())
        carried = [t for t in demo.truths if t.place(name)[2] - spec.look.table_z_m > 0.03]
        beside = min(carried, key=lambda t: abs(t.place(name)[0] - pillar.x)).place(name)
        assert beside[2] - spec.look.table_z_m < PILLAR_M[1]
        gaps = [float(np.hypot(*(t.place(name)[:2] - pillar.xy))) for t in carried]
        assert min(gaps) > PILLAR_M[0] + 0.02 + 0.026


def test_a_cube_that_passes_on_the_other_side_has_not_complied(physics):
    spec = sample_scene("move_around_obstacle", 3)
    goal = goals(spec)[0]
    monitor = EpisodeMonitor(spec)
    for truth in shown(physics, spec, other(goal, "side", spec)).truths:
        monitor.observe(truth)
    score = monitor.score(goal)
    assert (score.done, score.success, score.complied["side"]) == (True, False, False)


def test_scenes_of_the_pillar_name_no_colour_and_draw_all(physics):
    specs = [sample_scene("move_around_obstacle", seed) for seed in range(40)]
    assert {spec.of(Kind.CUBE)[0].color for spec in specs} == set(COLORS)
    assert {goal.color for spec in specs for goal in goals(spec)} == {""}
    for spec in specs:
        block, pillar, pad = (spec.of(kind)[0] for kind in (Kind.CUBE, Kind.PILLAR, Kind.PAD))
        assert block.x + 0.08 < pillar.x < pad.x - 0.10


@pytest.mark.parametrize("hard", [False, True])
def test_the_button_asked_for_is_pressed_and_the_other_left_alone(physics, hard):
    spec = sample_scene("press_button", 7, hard=hard)
    for goal in goals(spec):
        demo = shown(physics, spec, goal)
        assert demo.success, goal
        assert demo.score.points == 100.0
        depths = demo.truths[-1].joints
        assert depths[goal.color + BUTTON] >= PRESSED * BUTTON_TRAVEL_M
        assert max(depth for name, depth in depths.items() if name != goal.color + BUTTON) < 1e-4


def test_pressing_the_other_button_is_told_apart(physics):
    spec = sample_scene("press_button", 5)
    goal = goals(spec)[0]
    monitor = EpisodeMonitor(spec)
    for truth in shown(physics, spec, other(goal, "color", spec)).truths:
        monitor.observe(truth)
    score = monitor.score(goal)
    assert (score.done, score.complied["arm"], score.complied["color"]) == (False, True, False)


def test_a_cap_slides_and_latches_and_its_origin_is_its_top(physics):
    spec = SceneSpec(
        "press_button", 0, (ObjectSpec("red_button", Kind.BUTTON, 0.22, 0.0, size=(0.02,), color="red"),)
    )
    physics.reset(spec)
    start = physics.truth()
    assert start.joints["red_button"] == pytest.approx(0.0, abs=1e-6)
    assert start.place("red_button")[2] == pytest.approx(BUTTON_HEIGHT_M + BUTTON_TRAVEL_M)
    physics.step(100)
    assert physics.truth().joints["red_button"] == pytest.approx(0.0, abs=1e-5)
    demo = shown(physics, spec, Goal("press_button", "left", "red"))
    pressed = [t.joints["red_button"] for t in demo.truths]
    assert max(pressed) <= BUTTON_TRAVEL_M + 1e-4
    assert pressed[-1] == pytest.approx(max(pressed), abs=1e-4)
    physics.step(250)
    assert physics.truth().joints["red_button"] == pytest.approx(pressed[-1], abs=1e-4)


@pytest.mark.parametrize(
    ("seed", "arm", "color", "approach"),
    [
        # Far sides of the table: tilted outwards and rolled, one finger used to drag on the table.
        (8, "left", "green", "left"),
        (15, "right", "green", "right"),
        (58, "right", None, "right"),
        (21, "left", None, "left"),
    ],
)
def test_a_cube_is_taken_from_the_far_side(physics, seed, arm, color, approach):
    spec = sample_scene("pick_lift", seed)
    known = [g for g in goals(spec) if g.arm == arm and g.color == (color or g.color)]
    tried = 0
    for goal in known:
        if approach in values("approach", goal, spec):
            demo = shown(physics, spec, goal.with_values({"approach": approach}))
            assert demo.success, goal
            assert demo.score.observed["approach"] == approach
            tried += 1
    assert tried


def test_most_cubes_can_be_approached_from_a_side():
    cells = []
    for seed in range(100):
        spec = sample_scene("pick_lift", seed)
        cells += [len(values("approach", goal, spec)) for goal in goals(spec) if goal.arm == "left"]
    assert min(cells) >= 1
    assert np.mean(np.array(cells) >= 2) > 0.85


def test_scenes_of_every_task_lie_still(physics):
    for seed, task in enumerate(("pick_lift", "move_around_obstacle", "press_button", "stack_blocks_two")):
        check_stable(physics, sample_scene(task, seed, hard=seed % 2 == 1))


def test_cubes_drawn_into_each_other_are_refused_by_name_and_seed(physics):
    spec = SceneSpec("pick_lift", 77, (cube("red", 0.2, 0.0), cube("blue", 0.22, 0.01)))
    with pytest.raises(SimulationError) as caught:
        check_stable(physics, spec)
    words = str(caught.value)
    assert "unstable" in words
    assert "seed 77" in words
    assert "_cube" in caught.value.what
    assert "mm" in caught.value.found
    assert "degrees" in caught.value.found


def test_the_angle_between_poses():
    still, half = np.array([0, 0, 0, 1.0, 0, 0, 0]), np.sqrt(0.5)
    turned = np.array([0, 0, 0, half, 0, 0, half])
    assert turn_between(still, turned) == pytest.approx(np.pi / 2)
    assert turn_between(turned, np.concatenate([turned[:3], -turned[3:]])) == pytest.approx(0.0, abs=1e-6)


def test_looks_stay_pale_and_show_every_texture():
    looks = [draw_look(seeded("look test", seed)) for seed in range(200)]
    assert {look.texture for look in looks} == set(TEXTURES)
    for look in looks:
        for rgb in (look.table_rgb, look.table_rgb2):
            assert max(rgb) - min(rgb) < 0.5, "named colours are told from the table by their saturation"
    assert not PLAIN.texture


@pytest.mark.sim
def test_a_texture_tiles_the_table_in_the_width_that_the_look_says(world):
    from dataclasses import replace

    look = replace(
        PLAIN, texture="stripes", tile_m=0.06, table_rgb=(0.9, 0.9, 0.9), table_rgb2=(0.3, 0.3, 0.3)
    )
    world.reset(SceneSpec("pick_lift", 0, (), look))
    column = world.images(("cam_high",))["cam_high"][:, 160].mean(axis=1)
    edges = int(np.sum(np.abs(np.diff((column > column.mean()).astype(int)))))
    # The overhead camera sees 0.56 m of the table along x.
    assert 8 <= edges <= 11


def test_tasks_ask_for_what_they_vary():
    assert task_named("move_around_obstacle").factors == ("arm", "side")
    assert task_named("press_button").factors == ("arm", "color")


def test_a_sheet_has_a_row_per_task_and_says_where_the_expert_failed():
    from finevla.stages.sheet.verb import Strip, sheet

    def strip(done):
        return Strip("a title that is much too long " * 20, (np.zeros((24, 32, 3), np.uint8),) * 3, done)

    good, bad = sheet([(strip(True), strip(True))] * 2), sheet([(strip(True), strip(False))] * 2)
    assert good.size == bad.size
    assert good.size[0] > 6 * 32
    assert good.size[1] > 2 * 24
    assert np.array(good)[:, good.size[0] // 2 :].tolist() != np.array(bad)[:, good.size[0] // 2 :].tolist()
    np.testing.assert_array_equal(
        np.array(good)[:, : good.size[0] // 2], np.array(bad)[:, : good.size[0] // 2]
    )


@pytest.mark.parametrize("name", ["sheet.jpg", "folder.png"])
def test_a_sheet_that_cannot_be_a_png_is_refused_before_anything_is_drawn(tmp_path, name):
    from finevla.errors import FineVLAError
    from finevla.stages.sheet.verb import Config, main

    (tmp_path / "folder.png").mkdir()
    with pytest.raises(FineVLAError, match="PNG"):
        main(Config(out=tmp_path / name))
