import numpy as np
import pytest

from finevla.errors import SimulationError
from finevla.sim.factors import other
from finevla.sim.language import raw, render, templates, words
from finevla.sim.look import PLAIN, TABLE_DROP_M
from finevla.sim.scene import BOWL_RADIUS_M, COLORS, CUBE_EDGE_M, Kind
from finevla.sim.tasks import DEMO_TASKS, goals, sample_goal, sample_scene, task_named, task_names
from finevla.sim.tasks.place import scatter


@pytest.mark.parametrize("task", task_names())
def test_the_seed_decides_the_scene(task):
    assert sample_scene(task, 5) == sample_scene(task, 5)
    assert sample_scene(task, 5).objects != sample_scene(task, 6).objects


def test_things_are_apart_and_colours_differ():
    for seed in range(200):
        spec = sample_scene("pick_lift", seed)
        a, b = (np.array([cube.x, cube.y]) for cube in spec.of(Kind.CUBE))
        assert len(set(spec.colors)) == 2
        assert np.abs(a - b).max() > 2 * CUBE_EDGE_M
        for spot in (a, b):
            assert np.linalg.norm(spot - spec.object("bowl").xy) > BOWL_RADIUS_M + CUBE_EDGE_M


def test_all_colours_and_goals_occur():
    specs = [sample_scene("pick_lift", seed) for seed in range(100)]
    assert {color for spec in specs for color in spec.colors} == set(COLORS)
    drawn = [sample_goal(spec) for spec in specs]
    assert 30 < sum(goal.arm == "left" for goal in drawn) < 70
    assert all(goal in goals(spec) for goal, spec in zip(drawn, specs, strict=True))


def test_things_that_do_not_fit_are_refused_and_so_is_a_variant_that_there_is_not():
    with pytest.raises(SimulationError, match="do not fit"):
        scatter(np.random.default_rng(0), 20)
    with pytest.raises(SimulationError, match="no such variant"):
        sample_scene("pick_lift", 0, variant="two_bowls")
    with pytest.raises(KeyError, match="green_bowl"):
        sample_scene("pick_lift", 0).object("green_bowl")


def test_the_hard_version_has_the_same_objects_in_another_room():
    for seed in range(20):
        clean, hard = sample_scene("pick_lift", seed), sample_scene("pick_lift", seed, hard=True)
        assert hard.objects[: len(clean.objects)] == clean.objects
        assert hard.look != clean.look == PLAIN
        assert -TABLE_DROP_M <= hard.look.table_z_m <= 0
        assert 2 <= len(hard.objects) - len(clean.objects) <= 6
        assert hard == sample_scene("pick_lift", seed, hard=True)


@pytest.mark.parametrize("factor", ["arm", "color", "colour"])
@pytest.mark.parametrize("task", DEMO_TASKS)
def test_the_other_goal_differs_in_one_word(task, factor):
    spec = sample_scene(task, 3)
    for goal in goals(spec):
        opposite = other(goal, factor, spec)
        assert opposite in goals(spec)
        for i in range(len(templates(task))):
            pair = render(goal, i).split(), render(opposite, i).split()
            assert sum(a != b for a, b in zip(*pair, strict=True)) == 1


def test_words_cover_every_sentence_and_raw_names_neither_arm_nor_colour():
    for task in task_names():
        spec = sample_scene(task, 1)
        for goal in goals(spec):
            for i in range(len(templates(task))):
                assert set(render(goal, i).split()) <= set(words())
        assert set(raw(task).split()) <= set(words()) - {"left", "right", *COLORS}


def test_unknown_names_are_refused():
    with pytest.raises(SimulationError, match="no such task"):
        task_named("juggle")
    with pytest.raises(SimulationError, match="no such task"):
        raw("juggle")
    with pytest.raises(SimulationError, match="no such factor"):
        other(goals(sample_scene("pick_lift", 0))[0], "speed", sample_scene("pick_lift", 0))
