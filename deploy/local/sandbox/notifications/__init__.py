"""The sandbox of the notification service and of Alertmanager."""
