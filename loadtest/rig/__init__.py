"""The test rig: a gateway between scripted model servers and clients that show every byte.

Owns how tests start and reach them, and what a reply must look like. Concurrency: one event loop, the test's own.
"""

from loadtest.rig.bench import Bench, Upstream
from loadtest.rig.conversation import Conversation, chat, post
from loadtest.rig.reply import Reply
from loadtest.rig.verdict import assert_broken, assert_complete, assert_refused

__all__ = [
    "Bench",
    "Conversation",
    "Reply",
    "Upstream",
    "assert_broken",
    "assert_complete",
    "assert_refused",
    "chat",
    "post",
]
