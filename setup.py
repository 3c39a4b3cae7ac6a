"""The C extension, which an installation may lack: without a compiler the rest is installed."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "tombola.kernel._fused",
            ["src/tombola/kernel/_fused.c"],
            depends=["src/tombola/kernel/_loops.h"],
            extra_compile_args=[
                "-O3",
                "-ffp-contract=off",
                "-fno-math-errno",
                "-fno-trapping-math",
                "-Wno-psabi",
            ],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
