from setuptools import find_packages, setup

NAME = "cobotmagic_driver"

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
    description="Drives the two Piper arms of a CobotMagic from action chunks or leader arms.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            f"driver_node = {NAME}.driver_node:main",
            f"description_node = {NAME}.description_node:main",
        ]
    },
)
