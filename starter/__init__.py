"""Every door into the system. Each validates and starts; none waits for the image."""
