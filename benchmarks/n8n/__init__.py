"""The real N8N, installed and run: what Duragen is measured against."""
