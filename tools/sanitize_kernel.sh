#!/usr/bin/env bash
# The tests of the C extensions under AddressSanitizer and UndefinedBehaviorSanitizer: gcc, a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-$PWD/.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r src "$work/src"
CFLAGS='-fsanitize=address,undefined -fno-sanitize-recover=undefined -g' "$python" setup.py -q \
  build_ext --force --build-lib "$work/src" --build-temp "$work/build"
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0 PYTHONPATH="$work/src" \
  "$python" -m pytest -q tests/kernel/fused tests/kernel/test_fused.py tests/kernel/test_sparse_linear.py \
  tests/kernel/test_masked.py
