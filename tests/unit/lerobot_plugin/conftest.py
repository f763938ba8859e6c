"""The plugin as a user has it, an installed distribution, and the toy data of the policy tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "offline" / "lerobot_policy_finevla"
sys.path.insert(0, str(SOURCE / "src"))

_spec = importlib.util.spec_from_file_location(
    "policy_toys", ROOT / "tests" / "unit" / "policy" / "conftest.py"
)
toys = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toys)
contract, normalization, content = toys.contract, toys.normalization, toys.content
lerobot_dataset = toys.lerobot_dataset


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH in which pip installed the distribution."""
    folder = tmp_path_factory.mktemp("installed")
    copy = folder / "source"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("*.egg-info", "build", "__pycache__"))
    flags = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "-q", *flags, "--target", folder / "site", copy]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="session")
def in_clean_process(installed: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs a command in a process that knows the plugin only as an installed distribution."""
    path = os.pathsep.join([str(installed), str(ROOT / "offline" / "src")])
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    def run(*command: object) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(part) for part in command], env=environment, capture_output=True, text=True, timeout=500
        )

    return run


@pytest.fixture(scope="session")
def lerobot_train(in_clean_process, lerobot_dataset: Path) -> Callable[..., subprocess.CompletedProcess]:
    """`lerobot-train` of the environment on the toy data."""
    script = Path(sys.executable).parent / "lerobot-train"

    def run(out: Path, *flags: str, dataset: Path = lerobot_dataset) -> subprocess.CompletedProcess:
        return in_clean_process(
            script,
            "--dataset.repo_id=local/toy",
            f"--dataset.root={dataset}",
            f"--output_dir={out}",
            "--batch_size=2",
            "--num_workers=0",
            "--wandb.enable=false",
            "--log_freq=1",
            *flags,
        )

    return run
