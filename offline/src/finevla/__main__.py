"""`python -m finevla`: the same as the command `finevla`."""

from finevla.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
