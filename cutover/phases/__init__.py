"""The commands of the cutover: each module's ``run`` returns a Report; none prints, none reads a command line.

Evidence reads and writes nothing, gates ask and change nothing, operations act.
"""
