from setuptools import setup

NAME = "finevla_perception"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME, f"{NAME}.devices"],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="FineVLA maintainers",
    maintainer_email="maintainers@example.org",
    description="World to messages: cameras and instructions.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "instruction_node = finevla_perception.instruction_node:main",
            "camera_node = finevla_perception.camera_node:main",
        ],
    },
)
