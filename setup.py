"""The C extensions, which an installation may lack: without a compiler the rest is installed."""

from pathlib import Path

from setuptools import Extension, setup

SOURCES = {"fused/_fused.c": "off", "sparse/_sparse.c": "fast"}
"""Of each extension, in `src/tombola/kernel/`, and whether products are contracted with sums.

A header next to it belongs to it, and those above it to both.
"""

FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]


def extension(source: str) -> Extension:
    """A module of CPython's stable ABI."""
    path = Path("src/tombola/kernel", source)
    return Extension(
        f"tombola.kernel.{source.removesuffix('.c').replace('/', '.')}",
        [str(path)],
        depends=sorted(map(str, (*path.parent.glob("*.h"), *path.parent.parent.glob("*.h")))),
        extra_compile_args=[*FLAGS, f"-ffp-contract={SOURCES[source]}"],
        py_limited_api=True,
        optional=True,
    )


setup(
    ext_modules=[extension(source) for source in SOURCES],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
