"""Running it all: supervision, draining, secrets, telemetry. ``app.py`` tells the story on one page."""
