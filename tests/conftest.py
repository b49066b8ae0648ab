"""Before any test imports paddle: threads and math library, as the commands set them."""

from ofa_bert import runtime

runtime.prepare()
