"""placeholder"""


def hit(name: str) -> None:
    """placeholder"""
