"""The way up: what workers tell the control plane, in records that survive a killed worker."""
