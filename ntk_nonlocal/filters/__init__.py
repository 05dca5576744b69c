"""Closed-form filters over any ``KernelOperator``: one module for each question, imported from there."""
