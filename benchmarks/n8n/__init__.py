"""What Duragen is measured against."""
