"""Types of single setting values: bounds, units and the check of each.

Owns the annotated types that the Structs of `schema`, `tenancy` and `policies` are made of. Does not own the checks
themselves (`syntax`).
"""

from typing import Annotated, Literal

from msgspec import Meta

from fastpath.settings.secret import Secret
from fastpath.settings.syntax import (
    check_api_path,
    check_clock_time,
    check_currency,
    check_date,
    check_file,
    check_hash,
    check_host,
    check_label,
    check_label_pattern,
    check_model_name,
    check_model_pattern,
    check_moment,
    check_nameserver,
    check_network,
    check_path_pattern,
    check_probe_path,
    check_secret,
    check_subject,
    check_time_zone,
    check_url,
)

Tier = Literal["L0", "L1", "L2"]
DataClass = Literal["P0", "P1", "P2"]
Door = Literal["auto", "granian", "native"]
UnixMode = Literal["0600", "0660", "0666"]
Capability = Literal["tools", "vision", "audio", "json_object", "json_schema", "reasoning"]
Picker = Literal[
    "weighted_round_robin",
    "weighted",
    "least_cost",
    "least_in_flight",
    "round_robin",
    "power_of_two",
    "peak_ewma",
    "consistent_hash",
    "random",
]

Seconds = Annotated[float, Meta(gt=0, le=86400, extra={"unit": "seconds"})]
Delay = Annotated[float, Meta(ge=0, le=86400, extra={"unit": "seconds"})]
Bytes = Annotated[int, Meta(ge=1, le=2**40, extra={"unit": "bytes"})]
ContextTokens = Annotated[int, Meta(ge=1, le=1_000_000_000, extra={"unit": "tokens"})]
Port = Annotated[int, Meta(ge=0, le=65535, extra={"unit": "TCP port"})]
Host = Annotated[str, Meta(extra={"check": check_host})]
Network = Annotated[str, Meta(extra={"check": check_network})]
Nameserver = Annotated[str, Meta(extra={"check": check_nameserver})]
FilePath = Annotated[str, Meta(min_length=1, extra={"check": check_file})]
ModelName = Annotated[str, Meta(min_length=1, extra={"check": check_model_name})]
Label = Annotated[str, Meta(min_length=1, extra={"check": check_label})]
KeyHash = Annotated[str, Meta(extra={"check": check_hash}, extra_json_schema={"pattern": r"^b2:|\$\{"})]
Url = Annotated[str, Meta(extra={"check": check_url}, extra_json_schema={"pattern": r"^https?://|\$\{"})]
ApiPath = Annotated[str, Meta(extra={"check": check_api_path}, extra_json_schema={"pattern": r"^/v1/|\$\{"})]
ProbePath = Annotated[str, Meta(extra={"check": check_probe_path}, extra_json_schema={"pattern": r"^/|\$\{"})]
SecretText = Annotated[Secret, Meta(extra={"check": check_secret})]
TimeZone = Annotated[str, Meta(extra={"check": check_time_zone})]
Currency = Annotated[str, Meta(extra={"check": check_currency}, extra_json_schema={"pattern": r"^[A-Z]{3}$|\$\{"})]
LabelPattern = Annotated[str, Meta(min_length=1, extra={"check": check_label_pattern})]
ModelPattern = Annotated[str, Meta(min_length=1, extra={"check": check_model_pattern})]
PathPattern = Annotated[str, Meta(extra={"check": check_path_pattern}, extra_json_schema={"pattern": r"^/v1/|\$\{"})]
SubjectPattern = Annotated[
    str, Meta(extra={"check": check_subject}, extra_json_schema={"pattern": r"^(key|user|team):|\$\{"})
]
ClockTime = Annotated[
    str, Meta(extra={"check": check_clock_time}, extra_json_schema={"pattern": r"^[0-9]{2}:[0-9]{2}$|\$\{"})
]
Date = Annotated[
    str, Meta(extra={"check": check_date}, extra_json_schema={"pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$|\$\{"})
]
Moment = Annotated[str, Meta(extra={"check": check_moment})]
