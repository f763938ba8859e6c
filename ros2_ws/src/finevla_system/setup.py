from setuptools import setup

NAME = "finevla_system"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    package_data={NAME: ["static/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="FineVLA maintainers",
    maintainer_email="maintainers@example.org",
    description="Ordered bring-up with heartbeats, recorder and dashboard.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "lifecycle_manager = finevla_system.lifecycle_manager:main",
            "recorder_node = finevla_system.recorder_node:main",
            "dashboard_node = finevla_system.dashboard_node:main",
            "replay_node = finevla_system.replay_node:main",
            "record_keys = finevla_system.recorder_keys_node:main",
        ],
    },
)
