"""``python -m xaibench``."""

from xaibench.cli.main import main

if __name__ == "__main__":
    main()
