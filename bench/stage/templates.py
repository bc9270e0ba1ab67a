"""Configurations of the peers: no access log, no buffering, many connections. Pure text.

nginx started by root keeps being root: its files lie in a folder of the run that nobody else may enter.
"""

import json
from collections.abc import Sequence
from pathlib import Path


def plain_upstream(folder: Path, name: str, hosts: Sequence[str], ports: Sequence[int], answer: Path) -> str:
    """nginx that serves one fixed completion at each address."""
    listens = " ".join(f"listen {host}:{port} backlog=4096;" for host in hosts for port in ports)
    models = '{"object":"list","data":[{"id":"llama","object":"model","created":1700000000,"owned_by":"race"}]}'
    return f"""\
user root; daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.err;
events {{ worker_connections 16384; }}
http {{ access_log off; keepalive_requests 1000000; client_body_buffer_size 64k; client_max_body_size 64m;
  server {{ {listens}
    location = /health {{ return 200 'ok'; }}
    location = /v1/models {{ default_type application/json; return 200 '{models}'; }}
    location = /v1/chat/completions {{
      default_type application/json; alias {answer}; error_page 405 =200 $uri; }} }} }}
"""


def nginx(folder: Path, name: str, port: int, upstream: int, authority: Path | None = None, workers: int = 1) -> str:
    """nginx as a proxy; with an authority, over verified TLS to an upstream named localhost."""
    scheme = "https" if authority else "http"
    secure = f"""
      proxy_ssl_verify on; proxy_ssl_trusted_certificate {authority}; proxy_ssl_name localhost;
      proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_session_reuse on;"""
    return f"""\
user root; daemon off; worker_processes {workers}; pid {folder}/{name}.pid; error_log {folder}/{name}.err;
events {{ worker_connections 16384; }}
http {{ access_log off; keepalive_requests 1000000; client_body_buffer_size 2m; client_max_body_size 64m;
  client_body_temp_path {folder}/{name}.body; proxy_temp_path {folder}/{name}.proxy;
  upstream u {{ server 127.0.0.1:{upstream}; keepalive 512; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{{secure if authority else ""}
      proxy_read_timeout 600s; proxy_send_timeout 600s;
      proxy_pass {scheme}://u; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }} }}
"""


def haproxy(port: int, upstream: int, authority: Path | None = None) -> str:
    """haproxy as a proxy; with an authority, over verified TLS."""
    secure = f" ssl verify required verifyhost localhost ca-file {authority}" if authority else ""
    return f"""\
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  http-reuse always
listen l
  bind 127.0.0.1:{port}
  server s 127.0.0.1:{upstream}{secure}
"""


def envoy(port: int, upstream: int, authority: Path | None = None) -> str:
    """Envoy as a proxy, its circuit breakers out of the way."""
    thresholds = {"max_connections": 16384, "max_pending_requests": 16384, "max_requests": 16384}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": upstream}}
    cluster: dict[str, object] = {
        "name": "u",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [thresholds]},
        "load_assignment": {
            "cluster_name": "u",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    if authority:
        cluster["transport_socket"] = _tls(authority)
    listener = {
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [_connection_manager()]}],
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}, indent=1)


def litellm(upstream: int, master_key: str) -> str:
    """LiteLLM with one model and one key; 1,000 keys of its own would need its database."""
    parameters = {"model": "openai/llama", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "none"}
    models = [{"model_name": "llama", "litellm_params": parameters}]
    return json.dumps({"model_list": models, "general_settings": {"master_key": master_key}}, indent=1)


def _tls(authority: Path) -> dict[str, object]:
    context = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "localhost",
        "common_tls_context": {"validation_context": {"trusted_ca": {"filename": str(authority)}}},
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


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
