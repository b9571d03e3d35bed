"""The codec server: decrypts payloads for Temporal's Web UI and the `temporal` command."""
