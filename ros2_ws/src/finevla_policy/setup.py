from setuptools import setup

NAME = "finevla_policy"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="FineVLA maintainers",
    maintainer_email="maintainers@example.org",
    description="Messages to action chunks: the policy as a lifecycle node.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "policy_node = finevla_policy.policy_node:main",
        ],
    },
)
