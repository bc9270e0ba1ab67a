"""HTTP/1.1 to model servers: a keep-alive pool per endpoint, its resolver, one exchange at a time per connection."""
