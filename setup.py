"""For those who want `fink_broker` as a package of their own environment; the launcher needs no installation."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def pins(file: str) -> list[str]:
    """The requirements of a file, without comments."""
    return [line for line in (HERE / file).read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


version = re.search(r'^__version__ = "(.+)"$', (HERE / "fink_broker" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
assert version is not None

setup(
    name="fink-broker",
    version=version[1],
    description="An alert broker for ZTF and Rubin on Spark, Kafka and HBase",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["fink_broker", "fink_broker.*"]),
    package_data={"fink_broker": ["**/*.avsc", "**/*.parquet", "**/*.properties", "**/*.lock", "**/*.xml", "**/*.java"]},
    install_requires=pins("requirements.txt"),
    extras_require={"tests": pins("requirements-test.txt")},
)
