"""Traces, logs and the correlationId that ties them together."""
