"""The compiled part of the distribution: the DTW kernels, loaded by ctypes. The rest is in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, setup

FOLDER = "src/finevla/stages/curate/dtw"
setup(
    ext_modules=[
        Extension(
            "finevla.stages.curate.dtw._lanes",
            [f"{FOLDER}/lanes.cc"],
            depends=sorted(str(path) for path in Path(FOLDER).glob("*.inc")),
            language="c++",
            extra_compile_args=Path(FOLDER, "flags.txt").read_text().split(),
        )
    ]
)
