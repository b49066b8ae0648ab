"""``Convert`` and ``supernet``, under their published module name."""

from ofa_bert.ofa.convert import Convert
from ofa_bert.ofa.space import supernet

__all__ = ["Convert", "supernet"]
