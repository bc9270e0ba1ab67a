"""Anthropic's Messages API, for callers who speak OpenAI's chat completions. Pure."""
