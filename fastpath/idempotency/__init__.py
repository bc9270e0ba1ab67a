"""Idempotency keys: a request that a caller repeats under its key runs once, is charged once, and is answered alike.

What is promised is in docs/reference/idempotency.md, why it is built so in docs/adr. In order of use: `caller` (whose
key it is), `stage` (what a repeat is told), `store` over `table` (which keys are known, shared by a node's workers) and
`answers` (what they were answered, encrypted), `claim` (what one running request holds of it).
"""
