"""The meanings of an architecture, one module for each: nothing is imported before it is asked for."""
