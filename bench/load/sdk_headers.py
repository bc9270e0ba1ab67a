"""Request headers as the official OpenAI Python client sends them (17 with the body's own), so that parsing is real."""

HEADERS = {
    "accept": "application/json",
    "accept-encoding": "gzip, deflate, br, zstd",
    "connection": "keep-alive",
    "user-agent": "OpenAI/Python 2.9.0",
    "x-stainless-lang": "python",
    "x-stainless-package-version": "2.9.0",
    "x-stainless-os": "Linux",
    "x-stainless-arch": "x64",
    "x-stainless-runtime": "CPython",
    "x-stainless-runtime-version": "3.11.7",
    "x-stainless-async": "false",
    "x-stainless-retry-count": "0",
    "x-stainless-read-timeout": "600",
}
