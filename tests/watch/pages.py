"""Facsimiles of engines' pages of load, written by hand after their documented names."""

VLLM = b"""\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="llama"} 7.0
vllm:num_requests_running{engine="1",model_name="llama"} 5.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="llama"} 3.0
vllm:num_requests_waiting{engine="1",model_name="llama"} 0.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="llama"} 0.75
vllm:kv_cache_usage_perc{engine="1",model_name="llama"} 0.25
# TYPE vllm:prompt_tokens counter
vllm:prompt_tokens_total{engine="0",model_name="llama"} 120000.0
vllm:prompt_tokens_total{engine="1",model_name="llama"} 80000.0
vllm:prompt_tokens_created{engine="0",model_name="llama"} 1.76e+09
# TYPE vllm:request_success counter
vllm:request_success_total{engine="0",finished_reason="stop",model_name="llama"} 90.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="llama"} 10.0
vllm:request_success_total{engine="1",finished_reason="stop",model_name="llama"} 100.0
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",num_gpu_blocks="12000"} 1.0
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{le="0.001",model_name="llama"} 0.0
vllm:time_to_first_token_seconds_bucket{le="+Inf",model_name="llama"} 200.0
"""

VLLM_BEFORE_V1 = b"""\
vllm:num_requests_running{model_name="llama"} 2.0
vllm:num_requests_waiting{model_name="llama"} 1.0
vllm:gpu_cache_usage_perc{model_name="llama"} 0.5
vllm:prompt_tokens_total{model_name="llama"} 1000.0
"""

SGLANG = b"""\
# HELP sglang:num_running_reqs The number of running requests.
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{dp_rank="0",engine_type="unified",model_name="q",pp_rank="0",tp_rank="0"} 12.0
sglang:num_running_reqs{dp_rank="0",engine_type="unified",model_name="q",pp_rank="0",tp_rank="1"} 12.0
sglang:num_running_reqs{dp_rank="1",engine_type="unified",model_name="q",pp_rank="0",tp_rank="0"} 4.0
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{dp_rank="0",engine_type="unified",model_name="q",pp_rank="0",tp_rank="0"} 2.0
sglang:num_queue_reqs{dp_rank="0",engine_type="unified",model_name="q",pp_rank="0",tp_rank="1"} 2.0
# TYPE sglang:token_usage gauge
sglang:token_usage{dp_rank="0",engine_type="unified",model_name="q",pp_rank="0",tp_rank="0"} 0.28
sglang:gen_throughput{dp_rank="0",engine_type="unified",model_name="q",pp_rank="0",tp_rank="0"} 86.5
# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{model_name="q"} 8.128902e+06
# TYPE sglang:num_requests_total counter
sglang:num_requests_total{model_name="q"} 2000.0
"""

LLAMACPP = b"""\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 5000
# HELP llamacpp:prompt_seconds_total Prompt process time
# TYPE llamacpp:prompt_seconds_total counter
llamacpp:prompt_seconds_total 4.5
# TYPE llamacpp:kv_cache_usage_ratio gauge
llamacpp:kv_cache_usage_ratio 0.125
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 1
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 3
"""

LLAMACPP_SLOTS = b"""[
  {"id": 0, "n_ctx": 4096, "is_processing": true, "params": {"temperature": 0.8}, "prompt": "a secret of a caller"},
  {"id": 1, "n_ctx": 4096, "is_processing": false},
  {"id": 2, "n_ctx": 4096, "is_processing": true}
]"""

OLLAMA = b"""{"models": [
  {"name": "llama3.2:latest", "model": "llama3.2:latest", "size": 3338801152, "digest": "a80c4f17acd5",
   "details": {"format": "gguf", "parameter_size": "3.2B"}, "expires_at": "2026-01-01T00:00:00Z",
   "size_vram": 3338801152}
]}"""

TRITON = b"""\
# HELP nv_inference_pending_request_count Instantaneous number of pending requests awaiting execution
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{model="ensemble",version="1"} 2
nv_inference_pending_request_count{model="other",version="1"} 50
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="ensemble",version="1"} 40
# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{model="ensemble",request_type="waiting",version="1"} 1
nv_trt_llm_request_metrics{model="ensemble",request_type="context",version="1"} 1
nv_trt_llm_request_metrics{model="ensemble",request_type="scheduled",version="1"} 6
nv_trt_llm_request_metrics{model="ensemble",request_type="max",version="1"} 512
nv_trt_llm_request_metrics{model="ensemble",request_type="active",version="1"} 7
# TYPE nv_trt_llm_kv_cache_block_metrics gauge
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="ensemble",version="1"} 0.4
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="ensemble",version="1"} 2515
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="ensemble",version="1"} 6239
"""

TENSORRT_LLM = b"""\
# TYPE trtllm_request_success_total counter
trtllm_request_success_total{finished_reason="stop",model_name="x"} 12.0
# TYPE trtllm_num_requests_waiting gauge
trtllm_num_requests_waiting{model_name="x"} 4.0
trtllm_num_requests_running{model_name="x"} 9.0
# TYPE trtllm_kv_cache_utilization gauge
trtllm_kv_cache_utilization{model_name="x"} 0.33
"""
