"""The entry point for RabbitMQ: consumes requests from a queue; what is none is kept."""
