"""A model on one's own Kubernetes: one Job for each request."""
