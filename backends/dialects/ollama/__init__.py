"""Ollama: `/api/chat` and `/api/embed`, spoken by those who know OpenAI's chat completions."""
