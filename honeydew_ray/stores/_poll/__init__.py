"""The parts of the poll queue."""
