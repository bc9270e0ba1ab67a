"""Answers in each dialect: from a decoded body to the bytes of a body or the events of a stream.

Each module holds the wire shapes of one API, plans an answer from a request body (raising RefusedError when the body
is wrong) and renders it. No sockets, no clock, no waiting: `backends.mock.turn` sends what is rendered here.
"""
