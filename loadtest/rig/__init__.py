"""The test rig: a gateway between scripted model servers and clients that show every byte.

Owns how tests start and reach them; judges nothing. Concurrency: one event loop, the test's own.
"""

from loadtest.rig.bench import Bench, Upstream
from loadtest.rig.conversation import Conversation, chat, post
from loadtest.rig.reply import Reply

__all__ = [
    "Bench",
    "Conversation",
    "Reply",
    "Upstream",
    "chat",
    "post",
]
