"""Maps the two top-level folders into the package; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["pcr_rt", "pcr_rt.*"]),
        "pcr_rt.cuda_kernels",
        "pcr_rt.cuda_kernels.kernels",
        "pcr_rt.cuda_kernels.reference",
        "pcr_rt.export",
    ],
    package_dir={"pcr_rt.cuda_kernels": "cuda_kernels", "pcr_rt.export": "export"},
)
