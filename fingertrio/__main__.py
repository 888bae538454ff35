"""`python -m fingertrio`: serves if there is no command."""

from fingertrio.cli.main import main

if __name__ == "__main__":
    main(serves=True)
