"""Engines, serializers and key makers that come with the core."""
