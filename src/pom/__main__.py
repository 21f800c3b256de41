"""Pom as a module: ``python -m pom``."""

from pom.cli.main import main

if __name__ == "__main__":
    main()
