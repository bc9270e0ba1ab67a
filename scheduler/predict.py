"""How long until the first token, were a request sent to an endpoint now: what latency is scored by.

Three witnesses, each trusted for what it knows:

- the queue: what waits and runs there, plus this prompt, by its reading speed (`Load.seconds`). It knows this request
  and this moment, and nothing of what the endpoint takes beside reading;
- the measured mean (peak EWMA over the first tokens of this worker's attempts). It knows all of that, of requests a
  while ago: its weight halves every 10 s without a first token;
- the prior, as configured (`ttft`): what is left when the measured fades. Without one the queue is.

The later of the queue and the blend of the other two: a first token comes neither before the prompt is read nor, as a
rule, sooner than it did a moment ago. Pure, over the table's columns; one worker's loop.
"""

from math import isfinite

from scheduler.endpoint import EndpointTable

#: Seconds in which the word of the measured mean halves.
HALF_LIFE = 10.0


def predict_ttft(table: EndpointTable, slot: int, uncached: int, now: float) -> float:
    """Seconds, never below 0. uncached: tokens of the prompt that are in no cache there. now: monotonic seconds.
    Raises IndexError for a slot that is not there."""
    queue = table.load.seconds(slot, uncached, now)
    prior = table.ttft_prior[slot] or queue
    measured, at = table.ttft[slot], table.ttft_at[slot]
    if not at or not isfinite(measured):
        return max(queue, prior)
    trust = 0.5 ** (max(0.0, now - at) / HALF_LIFE)
    blend: float = trust * measured + (1.0 - trust) * prior
    return max(queue, blend)
