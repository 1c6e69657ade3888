"""Whole sessions as streams of one HTTP/2 connection (RFC 8441), by Python's `h2` and `wsproto`.

    python http2.py 127.0.0.1:8080

Prints one line of JSON with how many sessions there were and how much audio they had together; or
says on stderr which promise was broken, and exits 1.

Keep in step with http2.mjs, which does the same.
"""

import json
import socket
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

SESSIONS = 3
PROMPT = "The kettle is on. Tea will be ready in five minutes."
LIMIT_S = 60


def check(condition, sentence):
    if not condition:
        sys.exit(sentence)


class Session:
    """One stream, and the WebSocket in it."""

    def __init__(self):
        self.websocket = Connection(ConnectionType.CLIENT)
        self.text = ""
        self.kinds = []
        self.bytes = 0
        self.closed = None
        self.ended = False

    def receive(self, data):
        """Takes received bytes; returns the bytes to send in answer."""
        self.websocket.receive_data(data)
        answer = b""
        for event in self.websocket.events():
            if isinstance(event, BytesMessage):
                self.bytes += len(event.data)
            elif isinstance(event, TextMessage):
                self.text += event.data
                if event.message_finished:
                    answer += self.take(json.loads(self.text))
                    self.text = ""
            elif isinstance(event, Ping):
                answer += self.websocket.send(event.response())
            elif isinstance(event, CloseConnection):
                self.closed = event.code
        return answer

    def take(self, message):
        self.kinds.append(message["type"])
        if message["type"] == "session_start":
            return self.say(type="start_session", prompt=PROMPT)
        if message["type"] == "session_end":
            return self.websocket.send(CloseConnection(code=1000))
        return b""

    def say(self, **message):
        return self.websocket.send(TextMessage(data=json.dumps(message)))


def main():
    host, port = sys.argv[1].split(":")
    peer = socket.create_connection((host, int(port)), LIMIT_S)
    http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    http.initiate_connection()
    peer.sendall(http.data_to_send())
    sessions = {}
    while not sessions or not all(session.ended for session in sessions.values()):
        data = peer.recv(65536)
        check(data, "The connection ended.")
        for event in http.receive_data(data):
            if isinstance(event, RemoteSettingsChanged):
                connect = event.changed_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL)
                check(connect and connect.new_value == 1, "The server does not know the extended CONNECT.")
                for _ in range(SESSIONS):
                    stream = http.get_next_available_stream_id()
                    sessions[stream] = Session()
                    http.send_headers(
                        stream,
                        [
                            (":method", "CONNECT"),
                            (":protocol", "websocket"),
                            (":scheme", "http"),
                            (":path", "/api/session/ws"),
                            (":authority", sys.argv[1]),
                            ("sec-websocket-version", "13"),
                        ],
                    )
            elif isinstance(event, ResponseReceived):
                status = dict(event.headers)[":status"]
                check(status == "200", f"The answer was {status}.")
            elif isinstance(event, DataReceived):
                http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                answer = sessions[event.stream_id].receive(event.data) if event.data else b""
                if answer:
                    http.send_data(event.stream_id, answer)
            elif isinstance(event, StreamEnded):
                sessions[event.stream_id].ended = True
                http.end_stream(event.stream_id)
            elif isinstance(event, (StreamReset, ConnectionTerminated)):
                sys.exit(f"The server broke it off: {event}")
        peer.sendall(http.data_to_send())
    expected = ["session_start", *["text", "sentence_end"] * 2, "session_end"]
    for session in sessions.values():
        check(session.kinds == expected, f"The messages were {session.kinds}.")
        check(session.closed == 1000, f"The close code was {session.closed}.")
    print(json.dumps({"sessions": len(sessions), "bytes": sum(it.bytes for it in sessions.values())}))


main()
