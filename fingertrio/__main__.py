"""`python -m fingertrio`."""

from fingertrio.cli.main import main

if __name__ == "__main__":
    main()
