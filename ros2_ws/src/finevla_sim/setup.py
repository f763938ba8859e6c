from setuptools import find_packages, setup

NAME = "finevla_sim"

setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="FineVLA maintainers",
    maintainer_email="maintainers@example.org",
    description="A simulated CobotMagic as ROS sees it.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            f"sim_node = {NAME}.sim_node:main",
            f"leader_node = {NAME}.leader_node:main",
            f"arm_emulator = {NAME}.arm_emulator:main",
        ]
    },
)
