"""``honeydew demo``: a pool of workers measures the Python standard library, and accidents happen."""
