"""Traces: where the time of one request went, from the gateway through the services to Triton.

``spans`` is what the code of a stage uses; ``export`` sends what was recorded to an OpenTelemetry collector, where
``settings`` name one. Without one no span is ever made.
"""
