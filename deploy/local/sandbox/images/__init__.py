"""The sandbox image service: speaks OpenAI Images and FLUX, breaks on demand."""
