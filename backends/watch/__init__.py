"""Asks model servers how they are and how busy they are: once per node, and writes it where all workers look.

`plan` says what to ask, `watcher` asks, `probe` and `condition` judge health, `load` and `engines` read load. What is
learnt goes into the arena with the time it was learnt at; a watcher that dies leaves facts that grow old and expire.
"""
