"""A whole base session, run by an independent WebSocket client: Python's `websockets`.

    python session.py ws://127.0.0.1:8080/api/session/ws

Prints one line of JSON with what the streams that ran to their end held, and whether the pause
came in the middle of one; or says on stderr which promise was broken, and exits 1.

Keep in step with session.mjs, which does the same.
"""

import asyncio
import json
import re
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

PROMPT = "The kettle is on. Tea will be ready in five minutes."
SENTENCES = ["The kettle is on.", "Tea will be ready in five minutes."]
LIMIT_S = 60
QUIET_S = 0.2
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Broken(Exception):
    """A promise of the protocol that the server did not keep."""


def check(condition, sentence):
    if not condition:
        raise Broken(sentence)


def describe(arrival):
    return f"{len(arrival)} bytes of audio" if isinstance(arrival, bytes) else json.dumps(arrival)


def kind(arrival):
    return arrival.get("type") if isinstance(arrival, dict) else None


def expect_message(arrival, wanted, *fields):
    check(kind(arrival) == wanted, f"Expected {wanted}, got {describe(arrival)}.")
    check(
        sorted(arrival) == sorted(["type", *fields]),
        f"The fields of {wanted} should be type, {fields}, and are {sorted(arrival)}.",
    )
    return arrival


class Stream:
    """The order within one stream: text, its frames, sentence_end, and the next."""

    def __init__(self):
        self.texts = []
        self.speaking = False
        self.bytes = 0
        self.frames = 0
        self.sentence_bytes = 0
        self.ended = False

    def take(self, arrival):
        check(not self.ended, f"After session_end came {describe(arrival)}.")
        if isinstance(arrival, bytes):
            check(self.speaking, "A binary frame came outside of a sentence.")
            check(arrival, "A binary frame was empty.")
            self.frames += 1
            self.bytes += len(arrival)
            self.sentence_bytes += len(arrival)
        elif kind(arrival) == "text":
            expect_message(arrival, "text", "data", "index")
            check(not self.speaking, "A text came before the sentence_end of the one before.")
            check(arrival["index"] == len(self.texts), f"Expected text {len(self.texts)}, got {arrival['index']}.")
            self.texts.append(arrival["data"].strip())
            self.speaking = True
            self.sentence_bytes = 0
        elif kind(arrival) == "sentence_end":
            expect_message(arrival, "sentence_end", "index")
            check(self.speaking, "A sentence_end came outside of a sentence.")
            expected = len(self.texts) - 1
            check(arrival["index"] == expected, f"Expected sentence_end {expected}, got {arrival['index']}.")
            check(self.sentence_bytes > 0, f"Sentence {expected} had no audio.")
            self.speaking = False
        else:
            expect_message(arrival, "session_end")
            check(not self.speaking, "session_end came inside a sentence.")
            self.ended = True


async def session(url):
    async with connect(url) as socket:

        async def following():
            data = await socket.recv()
            return json.loads(data) if isinstance(data, str) else data

        async def send(**message):
            await socket.send(json.dumps(message))

        async def round_trip(other, **message):
            """Sends a message that must get one error; messages before the error go to `other`."""
            await send(**message)
            while True:
                arrival = await following()
                if kind(arrival) == "error":
                    return expect_message(arrival, "error", "message")["message"]
                other(arrival)

        # The server speaks first.
        session_id = expect_message(await following(), "session_start", "sessionId")["sessionId"]
        check(UUID.fullmatch(session_id), f"The session id is no UUID of version 4: {session_id}")

        # The first stream, paused after its first frame.
        first = Stream()
        await send(type="start_session", prompt=PROMPT)
        while first.frames == 0:
            first.take(await following())
        await send(type="pause")
        # The answer follows all frames that were in transit when the pause arrived.
        await round_trip(first.take, type="no_such_message")
        paused_mid_stream = not first.ended
        if paused_mid_stream:
            late = 0

            def while_paused(arrival):
                nonlocal late
                check(isinstance(arrival, bytes), f"While paused came {describe(arrival)}.")
                late += 1
                first.take(arrival)

            for _ in range(3):
                answer = await round_trip(while_paused, type="start_session", prompt="Me too.")
                check(answer == "Session already streaming", f"A second start_session was answered: {answer}")
            await asyncio.sleep(QUIET_S)
            await round_trip(while_paused, type="no_such_message")
            check(late <= 1, f"While paused came {late} frames.")
        await send(type="resume")
        while not first.ended:
            first.take(await following())
        check(first.texts == SENTENCES, f"The sentences came as {first.texts}.")

        # A second stream on the same connection, held at its start.
        second = Stream()

        def held(arrival):
            raise Broken(f"Held at its start, yet came {describe(arrival)}.")

        await send(type="pause")
        await send(type="start_session", prompt=SENTENCES[0], unknownField=True)
        await round_trip(held, type="no_such_message")
        await send(type="resume")
        while not second.ended:
            second.take(await following())
        check(second.texts == SENTENCES[:1], "The second stream spoke something else.")

        # A third, ended in the middle.
        await send(type="start_session", prompt=PROMPT)
        while not isinstance(await following(), bytes):
            pass
        await send(type="end")
        last = None
        try:
            while True:
                last = await following()
        except ConnectionClosed as closed:
            close = closed.rcvd
        check(isinstance(last, dict), "The close did not follow session_end.")
        expect_message(last, "session_end")
        check(close is not None, "The connection ended without a close frame.")
        check(close.code == 1000, f"The close code should be 1000 and is {close.code}.")
        check(close.reason == "Session ended by client", f"The close reason is: {close.reason}")

        return {
            "sentences": len(first.texts) + len(second.texts),
            "bytes": first.bytes + second.bytes,
            "frames": first.frames + second.frames,
            "pausedMidStream": paused_mid_stream,
        }


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: python session.py URL")
    try:
        figures = asyncio.run(asyncio.wait_for(session(sys.argv[1]), LIMIT_S))
    except Broken as broken:
        sys.exit(str(broken))
    except asyncio.TimeoutError:
        sys.exit(f"The session was not over after {LIMIT_S} s.")
    except (OSError, ConnectionClosed, InvalidHandshake, ValueError) as error:
        sys.exit(f"The connection failed: {error}")
    print(json.dumps(figures))


main()
