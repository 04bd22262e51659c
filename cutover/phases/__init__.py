"""The commands of the cutover: each module's ``run`` returns a Report; none prints, none reads a command line.

A command asks its ``gates`` and the ``evidence``, then takes its ``operations``. Evidence reads and writes nothing,
gates ask and change nothing, operations act.
"""
