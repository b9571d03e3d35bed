"""The embedded stack: Temporal, S3, two sandboxes, worker and gateway on one machine."""
