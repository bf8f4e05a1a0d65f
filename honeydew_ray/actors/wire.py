"""How Honeydew's own messages travel: as one pickled string of bytes, which Ray carries as it is.

Ray pickles each argument of a call by itself, with a pickler for any Python object; for small
messages that is most of their cost. These hold only our own and builtin types, so the plain
pickler will do. What holds references to objects of Ray's store is left to Ray, which counts them.
"""

from __future__ import annotations

import pickle
from typing import Any


def pack(message: Any) -> bytes:
    """A message that holds no reference to an object of Ray's store, as bytes."""
    return pickle.dumps(message, 5)


def unpack(data: bytes) -> Any:
    """The message again. It comes from another process of Honeydew in the same cluster, trusted like all of them."""
    return pickle.loads(data)
