"""Before any test imports paddle: threads and math library, as the commands set them."""

from hypothesis import settings

from ofa_bert import runtime

runtime.prepare()

# How long an example takes says more about the machine than about what is tested.
settings.register_profile("without_deadline", deadline=None)
settings.load_profile("without_deadline")
