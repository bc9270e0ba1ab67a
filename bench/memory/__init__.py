"""What a stream costs that says nothing, what a reader costs that reads nothing, and whether memory grows with time.

Resident bytes of the proxy's processes (PSS) between two numbers of streams, divided by the difference: both sides'
connections of a stream, and nothing of what the proxy is without any. Kernel buffers are not in it.
"""
