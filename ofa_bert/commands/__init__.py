"""The commands of ``python -m ofa_bert``, a module each with ``main(argv)``."""
