"""Image services behind one protocol, and one translator of their answers."""
