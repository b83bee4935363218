"""Generated messages, services and type stubs of ``protos/semface/v1``; write them with ``python protos/generate.py``."""
