"""`python -m fingertrio`."""

from fingertrio.cli import main

if __name__ == "__main__":
    main()
