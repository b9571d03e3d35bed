"""The real N8N, for those who come from it: installed and run."""
