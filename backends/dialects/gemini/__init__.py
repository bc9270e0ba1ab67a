"""Gemini: `generateContent` and its kin, spoken by those who know OpenAI's chat completions."""
