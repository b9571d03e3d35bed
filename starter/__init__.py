"""Every entry point. Each validates and starts; none waits for the image."""
