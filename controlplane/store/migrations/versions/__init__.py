"""Revisions, named by number and room: each says its own and its predecessor's name."""
