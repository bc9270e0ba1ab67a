from _native.jsonlines cimport JsonLines
from backends.dialects.usage cimport Usage


cdef long long BYTES_PER_TOKEN


cdef class DecisionRecord:
    cdef public str id
    cdef public double ts
    cdef public str method
    cdef public str path
    cdef public str client
    cdef public str label
    cdef public str key
    cdef public str data_class
    cdef public str model
    cdef public str endpoint
    cdef public str tier
    cdef public bint stream
    cdef public int status
    cdef public str outcome
    cdef public str error
    cdef public str policy
    cdef public int attempts
    cdef public list failures
    cdef public list choices
    cdef public long long bytes_in
    cdef public long long bytes_out
    cdef public long long events
    cdef public object input_tokens
    cdef public object output_tokens
    cdef public object cached_tokens
    cdef public object reasoning_tokens
    cdef public Usage usage
    cdef public object cost_nano
    cdef public str currency
    cdef public object provider_usd_nano
    cdef public str clamped
    cdef public bint estimated
    cdef public bint disputed
    cdef public object overhead_us
    cdef public object ttft_ms
    cdef public double total_ms
    cdef public bytes prompt_hash

    cpdef prepare(self, str id, double ts, str method, str path, str client, str label)
    cpdef long long prompt_estimate(self)
    cpdef write_line(self, JsonLines line)
