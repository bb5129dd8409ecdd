"""A provider on loopback that does what the model's name says, for checks with real clients.

It speaks OpenAI's dialect under `/openai/v1` and Anthropic's under `/anthropic/v1`. What follows the
first dash of a model's name is what happens:

    ok             the reply, whole or streamed as asked
    error-N        status N in the dialect's envelope, with its retry hints
    quota          the 429 that waiting does not cure
    early-error    a stream whose first event is an error
    late-error     a stream with an error after half of its text
    cut            a stream whose connection breaks after half of its text
    endless        a stream that goes on until the caller has left
    silent         nothing at all until the caller has left

and any other name is an unknown model. Everything that arrives is kept in `Provider.seen`.
"""

import http.server
import json
import select
import socket
import sys
import threading
import time

TEXT = "Grüße aus Köln, mit 🦀 und “Zitat”; zwei\nZeilen, ein \\ und ein \"."
INPUT, OUTPUT = 11, 7
RETRY_AFTER = "7"
# Longer than any check waits: a caller that leaves is noticed long before.
PATIENCE = 30.0

ENVELOPE_TYPES = {
    "openai": {
        401: "authentication_error", 403: "permission_error", 404: "invalid_request_error",
        429: "rate_limit_exceeded", 500: "server_error", 502: "server_error", 503: "server_error",
        504: "server_error", 529: "server_error",
    },
    "anthropic": {
        401: "authentication_error", 402: "billing_error", 403: "permission_error",
        404: "not_found_error", 408: "timeout_error", 409: "conflict_error", 413: "request_too_large",
        429: "rate_limit_error", 500: "api_error", 502: "api_error", 503: "api_error",
        504: "timeout_error", 529: "overloaded_error",
    },
}


def envelope_type(dialect, status):
    return ENVELOPE_TYPES[dialect].get(status, "invalid_request_error")


def envelope(dialect, kind, message, code=None):
    """An error as the dialect writes it."""
    if dialect == "openai":
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}
    error = {"type": kind, "message": message}
    if code:
        error["details"] = {"error_code": code}
    return {"type": "error", "error": error, "request_id": "req-scripted"}


def pieces():
    """The text in the parts in which a stream delivers it."""
    words = TEXT.split(" ")
    return [word if n == 0 else " " + word for n, word in enumerate(words)]


class Seen:
    """One request as it arrived."""

    def __init__(self, handler, raw):
        self.path = handler.path
        self.headers = {}
        for name, value in handler.headers.items():
            self.headers.setdefault(name.lower(), []).append(value)
        self.raw = raw
        # Set when the caller was seen to have left.
        self.left = threading.Event()

    @property
    def body(self):
        return json.loads(self.raw)


class Provider:
    """The server, from `with` to the end of its block."""

    def __init__(self, models, body_limit):
        self.models, self.body_limit = models, body_limit
        self.seen = []

        class Bound(Handler):
            provider = self

        self.server = Server(("127.0.0.1", 0), Bound)
        self.address = "http://127.0.0.1:{}".format(self.server.server_port)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        # A caller that leaves in the middle is what some checks do.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    provider = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.take(b"")
        if self.dialect is None or not self.path.split("?")[0].endswith("/v1/models"):
            return self.fail(404, "no such path")
        now = "2025-01-01T00:00:00Z"
        data = [
            {"id": model, "object": "model", "created": 0, "owned_by": "scripted"}
            if self.dialect == "openai"
            else {"id": model, "type": "model", "display_name": model, "created_at": now}
            for model in self.provider.models
        ]
        more = {"object": "list"} if self.dialect == "openai" else {"has_more": False}
        return self.reply(200, {"data": data, **more})

    def do_POST(self):
        length = int(self.headers.get("content-length") or 0)
        raw = self.chunks() if "chunked" in self.headers.get("transfer-encoding", "") else self.rfile.read(length)
        self.take(raw)
        if self.dialect is None:
            return self.reply(404, {"error": "no such path"})
        if len(raw) > self.provider.body_limit:
            return self.fail(413, "the body is too large")
        try:
            body = self.request_seen.body
        except ValueError as error:
            return self.fail(400, f"not JSON: {error}")
        if not isinstance(body, dict) or not isinstance(body.get("model"), str):
            return self.fail(400, "no model is named")
        return self.behave(body)

    # ===== reading =====

    def take(self, raw):
        self.request_seen = Seen(self, raw)
        self.provider.seen.append(self.request_seen)
        first = self.path.split("/")[1]
        self.dialect = first if first in ENVELOPE_TYPES else None

    def chunks(self):
        whole = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    # ===== answering =====

    def behave(self, body):
        model = body["model"]
        if model not in self.provider.models:
            return self.fail(404, f"the model `{model}` does not exist", "model_not_found")
        does = model.partition("-")[2]
        if does.startswith("error-"):
            status = int(does.removeprefix("error-"))
            return self.fail(status, f"scripted {status}")
        if does == "quota":
            code = "insufficient_quota" if self.dialect == "openai" else "enforced_spend_limit_reached"
            kind = code if self.dialect == "openai" else None
            return self.fail(429, "scripted quota", code, kind, hint=False)
        if does == "silent":
            return self.wait_for_the_end()
        operation = self.path.split("?")[0].partition("/v1/")[2]
        if operation not in ("chat/completions", "messages"):
            return self.other(operation, body)
        if body.get("stream"):
            return self.stream(does, body)
        return self.reply(200, self.whole(body["model"]))

    def other(self, operation, body):
        if operation == "embeddings":
            data = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]
            usage = {"prompt_tokens": INPUT, "total_tokens": INPUT}
            return self.reply(200, {"object": "list", "model": body["model"], "data": data, "usage": usage})
        if operation == "responses":
            content = [{"type": "output_text", "text": TEXT, "annotations": []}]
            message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
            output = [{**message, "content": content}]
            return self.reply(200, {"id": "resp_1", "object": "response", "model": body["model"], "output": output})
        if operation == "messages/count_tokens":
            return self.reply(200, {"input_tokens": INPUT})
        return self.fail(404, "no such path")

    def whole(self, model):
        if self.dialect == "openai":
            choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
            return {
                "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": model,
                "choices": [choice], "usage": self.usage(),
            }
        return {
            "id": "msg_1", "type": "message", "role": "assistant", "model": model,
            "content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn",
            "stop_sequence": None, "usage": self.usage(),
        }

    def usage(self):
        if self.dialect == "openai":
            return {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}
        return {"input_tokens": INPUT, "output_tokens": OUTPUT}

    def reply(self, status, body, headers=()):
        data = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_request_id()
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def send_request_id(self):
        self.send_header("x-request-id" if self.dialect == "openai" else "request-id", "req-scripted")

    def fail(self, status, message, code=None, kind=None, hint=True):
        headers = []
        if hint and status in (429, 503, 529):
            headers.append(("retry-after", RETRY_AFTER))
            if self.dialect == "openai":
                headers.append(("retry-after-ms", RETRY_AFTER + "000"))
        kind = kind or envelope_type(self.dialect, status)
        self.reply(status, envelope(self.dialect, kind, message, code), headers)

    # ===== streaming =====

    def stream(self, does, body):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.send_request_id()
        self.end_headers()
        parts = pieces()
        if does == "early-error":
            self.event("error", envelope(self.dialect, envelope_type(self.dialect, 529), "scripted early error"))
            return self.finish()
        self.open(body)
        if does == "endless":
            return self.endless(body)
        half = len(parts) // 2 if does in ("late-error", "cut") else len(parts)
        for part in parts[:half]:
            self.delta(body, part)
        if does == "cut":
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        if does == "late-error":
            self.event("error", envelope(self.dialect, envelope_type(self.dialect, 529), "scripted late error"))
            return self.finish()
        self.close(body)
        return self.finish()

    def open(self, body):
        if self.dialect == "openai":
            return self.chunk(body, [self.choice({"role": "assistant", "content": ""})])
        message = self.whole(body["model"])
        message.update(content=[], stop_reason=None, usage={"input_tokens": INPUT, "output_tokens": 1})
        self.event("message_start", {"type": "message_start", "message": message})
        block = {"type": "text", "text": ""}
        self.event("content_block_start", {"type": "content_block_start", "index": 0, "content_block": block})
        return self.event("ping", {"type": "ping"})

    def delta(self, body, text):
        if self.dialect == "openai":
            return self.chunk(body, [self.choice({"content": text})])
        delta = {"type": "text_delta", "text": text}
        return self.event("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta})

    def close(self, body):
        if self.dialect == "openai":
            self.chunk(body, [self.choice({}, "stop")])
            if (body.get("stream_options") or {}).get("include_usage"):
                self.chunk(body, [], usage=self.usage())
            return self.write(b"data: [DONE]\n\n")
        self.event("content_block_stop", {"type": "content_block_stop", "index": 0})
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        self.event("message_delta", {"type": "message_delta", "delta": delta, "usage": {"output_tokens": OUTPUT}})
        return self.event("message_stop", {"type": "message_stop"})

    @staticmethod
    def choice(delta, finish_reason=None):
        return {"index": 0, "delta": delta, "finish_reason": finish_reason}

    def chunk(self, body, choices, **more):
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": body["model"]}
        self.event(None, {**head, "choices": choices, **more})

    def event(self, name, data):
        line = f"event: {name}\n" if self.dialect == "anthropic" else ""
        self.write(f"{line}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode())

    def write(self, data):
        """Writes in slices that respect neither lines nor characters, as a network would."""
        for start in range(0, len(data), 61):
            part = data[start : start + 61]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

    def finish(self):
        self.wfile.write(b"0\r\n\r\n")

    def endless(self, body):
        try:
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end and not self.caller_left(within=0.02):
                self.delta(body, "on and ")
        except OSError:
            self.request_seen.left.set()
        self.close_connection = True

    def wait_for_the_end(self):
        self.caller_left(within=PATIENCE)
        self.close_connection = True

    def caller_left(self, within):
        """Waits for the caller to close its side; no client here sends a second request meanwhile."""
        readable, _, _ = select.select([self.connection], [], [], within)
        if not readable:
            return False
        try:
            left = self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            left = True
        if left:
            self.request_seen.left.set()
        return left
