"""Note what a nox session has passed on, and make the document's table again: ``python -m tests.versions NAME``."""

import sys

from . import table

if __name__ == "__main__":
    [_, name] = sys.argv
    with table.alone():
        table.note(name)
        table.write()
    print(f"{name}: " + ", ".join(f"{package} {version}" for package, version in table.noted()[name].items()))
