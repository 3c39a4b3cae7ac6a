"""`python -m tombola`."""

import sys

from tombola.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
