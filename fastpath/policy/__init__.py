"""Policies: who may send what where. `stage` asks, `rulebook` answers from what was compiled, `reading` says why."""
