"""A world without cameras, shared by the tests of the simulator: it needs no Vulkan."""

import pytest

pytest.importorskip("sapien", reason="sapien is not installed (requirements/sim.txt)")


@pytest.fixture(scope="session")
def physics():
    from finevla.sim.world import World

    return World(render=False)
