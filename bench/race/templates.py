"""Configurations of the peers: one thread each, no access log, no buffering, many connections. Pure text."""

import json
from pathlib import Path


def plain_upstream(folder: Path, ports: list[int], answer: Path) -> str:
    """nginx that serves one fixed completion on each port."""
    listens = " ".join(f"listen 127.0.0.1:{port} backlog=4096;" for port in ports)
    models = '{"object":"list","data":[{"id":"llama","object":"model","created":1700000000,"owned_by":"race"}]}'
    return f"""\
daemon off; worker_processes 1; pid {folder}/upstream.pid; error_log {folder}/upstream.err;
events {{ worker_connections 16384; }}
http {{ access_log off; keepalive_requests 1000000; client_body_buffer_size 64k;
  server {{ {listens}
    location = /health {{ return 200 'ok'; }}
    location = /v1/models {{ default_type application/json; return 200 '{models}'; }}
    location = /v1/chat/completions {{
      default_type application/json; alias {answer}; error_page 405 =200 $uri; }} }} }}
"""


def nginx(folder: Path, name: str, port: int, upstream: int) -> str:
    """nginx as a proxy."""
    return f"""\
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.err;
events {{ worker_connections 16384; }}
http {{ access_log off; keepalive_requests 1000000; client_body_buffer_size 64k;
  upstream u {{ server 127.0.0.1:{upstream}; keepalive 512; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }} }}
"""


def haproxy(port: int, upstream: int) -> str:
    """haproxy as a proxy."""
    return f"""\
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
listen l
  bind 127.0.0.1:{port}
  server s 127.0.0.1:{upstream}
"""


def envoy(port: int, upstream: int) -> str:
    """Envoy as a proxy, its circuit breakers out of the way."""
    thresholds = {"max_connections": 16384, "max_pending_requests": 16384, "max_requests": 16384}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": upstream}}
    cluster = {
        "name": "u",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [thresholds]},
        "load_assignment": {
            "cluster_name": "u",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    listener = {
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [_connection_manager()]}],
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}, indent=1)


def _connection_manager() -> dict[str, object]:
    types = "type.googleapis.com/envoy.extensions.filters"
    route = {"match": {"prefix": "/"}, "route": {"cluster": "u", "timeout": "0s"}}
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
    manager = f"{types}.network.http_connection_manager.v3.HttpConnectionManager"
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": manager,
            "stat_prefix": "race",
            "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
            "http_filters": [router],
        },
    }
