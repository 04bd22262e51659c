"""The parts, one module each: a part is a function of the rig that returns rows."""
