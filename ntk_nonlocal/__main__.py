"""``python -m ntk_nonlocal``: the command line."""

import sys

from ntk_nonlocal.cli import main

if __name__ == "__main__":
    sys.exit(main())
