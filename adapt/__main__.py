"""``python -m adapt`` is the ``adapt`` command."""

from adapt.cli.app import main

if __name__ == "__main__":
    main()
