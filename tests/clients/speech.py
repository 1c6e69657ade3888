"""Asks a server for speech as programs do, with OpenAI's SDK, and decodes every format with FFmpeg (PyAV).

    speech.py BASE_URL      prints a line of JSON, and fails with a reason if something is wrong
"""

import asyncio
import base64
import io
import json
import sys

import av
import numpy as np
from openai import APIStatusError, AsyncOpenAI, OpenAI

TEXT = "Good evening. The kettle is on. We will leave at half past nine."
client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0, timeout=30)
base = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": TEXT}


def decoded(data, kind):
    """Samples from -1 to 1 and their rate."""
    if kind == "pcm":
        return np.frombuffer(data, "<i2") / 32768, 24_000
    parts = []
    with av.open(io.BytesIO(data), format={"opus": "ogg"}.get(kind, kind)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(float).reshape(-1)
            parts.append(samples / 32768 if frame.format.name.startswith("s16") else samples)
            rate = frame.sample_rate
    return np.concatenate(parts), rate


def loudness(samples, rate):
    """Loudness of each 5 ms."""
    count = rate // 200
    blocks = samples[: len(samples) // count * count].reshape(-1, count)
    return np.sqrt((blocks**2).mean(1))


def likeness(one, other):
    """Correlation of two courses of loudness at the best delay up to 0.1 s."""
    best = -1.0
    for delay in range(21):
        late = other[delay:]
        length = min(len(one), len(late))
        best = max(best, float(np.corrcoef(one[:length], late[:length])[0, 1]))
    return best


def speak(**fields):
    with client.audio.speech.with_streaming_response.create(**base, **fields) as response:
        assert response.headers["x-request-id"], response.headers
        return b"".join(response.iter_bytes(4096)), response.headers["content-type"]


wanted = {"wav": "audio/wav", "pcm": "audio/pcm", "mp3": "audio/mpeg", "opus": "audio/ogg"}
figures = {}
reference = None
for kind, content_type in wanted.items():
    try:
        data, found = speak(response_format=kind)
    except APIStatusError as error:
        # A build has `opus` with that feature only.
        assert kind == "opus" and error.status_code == 400 and "response_format" in error.message, error
        continue
    assert found == content_type, (kind, found)
    samples, rate = decoded(data, kind)
    shape = loudness(samples, rate)
    reference = shape if reference is None else reference
    seconds = len(samples) / rate
    alike = likeness(reference, shape)
    assert abs(seconds - len(reference) / 200) < 0.1 and alike > 0.9, (kind, seconds, alike)
    figures[kind] = {"seconds": round(seconds, 3), "alike": round(alike, 3)}

default, found = speak()
assert found == "audio/mpeg", found
assert len(client.audio.speech.create(**base).read()) == len(default)

events = []
with client.audio.speech.with_streaming_response.create(
    **base, response_format="pcm", stream_format="sse", extra_body={"timestamps": "word"}
) as response:
    assert response.headers["content-type"].startswith("text/event-stream"), response.headers
    events = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: ")]
audio = b"".join(base64.b64decode(e["audio"]) for e in events if e["type"] == "speech.audio.delta")
assert audio == speak(response_format="pcm")[0]
words = [word["word"] for e in events if e["type"] == "speech.text.words" for word in e["words"]]
assert " ".join(words) == TEXT, words
assert events[-1]["type"] == "speech.audio.done" and events[-1]["usage"]["total_tokens"] > 0, events[-1]

for fields in ({"response_format": "mid"}, {"input": ""}, {"speed": 9}):
    try:
        client.audio.speech.create(**{**base, **fields})
        raise AssertionError(f"{fields} was accepted")
    except APIStatusError as error:
        assert error.status_code == 400 and error.body["message"], (fields, error.body)

with client.audio.speech.with_streaming_response.create(**{**base, "input": TEXT * 200}) as response:
    next(response.iter_bytes(1024))
assert [model.id for model in client.models.list()], "models"


async def at_once():
    many = AsyncOpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0, timeout=60)
    answers = await asyncio.gather(*[many.audio.speech.create(**base) for _ in range(16)])
    return {len(answer.content) for answer in answers}


assert asyncio.run(at_once()) == {len(default)}
print(json.dumps(figures))
