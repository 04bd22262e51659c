"""The steps of the cutover. Each room's ``run`` returns a Report; none prints, none reads a command line."""
