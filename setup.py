"""Installs tfvae: `pip install .`, with extras as `pip install '.[test]'`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "tfvae/__init__.py").read_text()).group(1)

EXTRAS = {
    "export": ["ai-edge-litert>=2.0"],
    "serving": [
        "grpcio>=1.70",
        "httpx>=0.27",
        "orjson>=3.10",
        "prometheus-client>=0.20",
        "starlette>=0.40",
        "tensorflow-serving-api>=2.18",
        "uvicorn>=0.30",
    ],
    "sklearn": ["scikit-learn>=1.6"],
    "tensorboard": ["tensorboard>=2.20"],
    "check": ["mypy>=1.15", "ruff>=0.14"],
}
# What the tests need beside pytest: every extra that adds to the package.
EXTRAS["test"] = [
    "pytest>=8",
    "pytest-xdist>=3.6",
    "scipy>=1.13",
    *(package for extra in EXTRAS if extra != "check" for package in EXTRAS[extra]),
]

setup(
    name="tfvae",
    version=VERSION,
    description="Probabilistic layers and variational autoencoders for Keras 3 and TensorFlow",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["tfvae", "tfvae.*"]),
    package_data={"tfvae": ["py.typed", "data/*.npz", "data/*.txt", "explorer/static/*"]},
    install_requires=[
        "keras>=3.15",
        "tensorflow>=2.20",
        "tensorflow-probability[tf]>=0.25",
        "numpy>=1.26",
        "h5py>=3.10",
        "matplotlib>=3.9",
        "pillow>=10.3",
        "rich>=13.7",
        "typer>=0.15",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["tfvae=tfvae.cli:main"]},
)
