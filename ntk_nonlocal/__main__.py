"""``python -m ntk_nonlocal``: the command line."""

from ntk_nonlocal.cli import run

if __name__ == "__main__":
    run()
