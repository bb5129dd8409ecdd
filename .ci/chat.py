"""A provider of three dialects on loopback that reads strictly what it is asked, and plays a scene.

OpenAI under `/openai/v1`, Anthropic under `/anthropic`, Gemini under `/gemini`. What follows the first
dash of a model's name is the scene, a function of `SCENES`: it is given the request in neutral words, and
says what to reply. A request that is not well-formed in its dialect is a 400 that says why, as from the
real ones.
"""

import base64
import dataclasses
import http.server
import json
import threading

IMAGE = base64.b64encode(b"\x89PNG\r\n\x1a\n a picture").decode()
SIGNATURE = "c2lnbmF0dXJl+/8="
RETRY_AFTER = "7"
SCHEMA = {
    "type": "object", "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"], "additionalProperties": False,
}


class Wrong(Exception):
    """What a real provider would answer with a 400."""


def need(condition, what):
    if not condition:
        raise Wrong(what)


def members(value, needed, optional, where):
    """An object with these members and no other."""
    need(isinstance(value, dict), f"{where}: an object is expected, not {value!r}")
    unknown = set(value) - set(needed) - set(optional)
    need(not unknown, f"{where}: unknown {sorted(unknown)}")
    missing = set(needed) - set(value)
    need(not missing, f"{where}: missing {sorted(missing)}")
    return value


@dataclasses.dataclass
class Asked:
    """A request in neutral words. A turn is a role and its parts; a part is a tuple."""

    model: str
    stream: bool
    system: str = ""
    turns: list = dataclasses.field(default_factory=list)
    tools: dict = dataclasses.field(default_factory=dict)
    choice: object = "auto"
    schema: object = None
    stop: list = dataclasses.field(default_factory=list)
    temperature: object = None
    max_tokens: object = None

    def add(self, role, parts):
        """Turns of one role after another are one turn."""
        if self.turns and self.turns[-1][0] == role:
            self.turns[-1][1].extend(parts)
        else:
            self.turns.append((role, list(parts)))


@dataclasses.dataclass
class Says:
    """A reply in neutral words."""

    text: str = ""
    calls: tuple = ()
    finish: str = "stop"
    input: int = 20
    cached: int = 4
    output: int = 9
    status: int = 200
    quota: bool = False


# ===== reading =====


def read_openai(_, body):
    optional = [
        "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "response_format", "stop",
        "temperature", "max_completion_tokens", "max_tokens",
    ]
    members(body, ["model", "messages"], optional, "request")
    asked = Asked(body["model"], body.get("stream", False), temperature=body.get("temperature"))
    asked.max_tokens = body.get("max_completion_tokens", body.get("max_tokens"))
    stop = body.get("stop", [])
    asked.stop = [stop] if isinstance(stop, str) else stop
    open_calls = []
    for at, message in enumerate(body["messages"]):
        where, role = f"messages[{at}]", message.get("role")
        if role != "tool":
            need(not open_calls, f"{where}: calls {open_calls} were not answered")
        if role in ("system", "developer"):
            members(message, ["role", "content"], [], where)
            asked.system += "".join(text for _, text in openai_parts(message["content"], where))
        elif role == "user":
            members(message, ["role", "content"], [], where)
            asked.add("user", openai_parts(message["content"], where))
        elif role == "assistant":
            members(message, ["role"], ["content", "tool_calls"], where)
            parts = openai_parts(message["content"], where) if message.get("content") else []
            for call in message.get("tool_calls", []):
                # The SDK keeps the index of a call that was streamed.
                members(call, ["id", "type", "function"], ["index"], where)
                function = members(call["function"], ["name", "arguments"], [], where)
                parts.append(("call", call["id"], function["name"], json.loads(function["arguments"])))
                open_calls.append(call["id"])
            need(parts, f"{where}: says nothing")
            asked.add("assistant", parts)
        elif role == "tool":
            members(message, ["role", "tool_call_id", "content"], [], where)
            need(message["tool_call_id"] in open_calls, f"{where}: no such call {message['tool_call_id']}")
            open_calls.remove(message["tool_call_id"])
            text = "".join(text for _, text in openai_parts(message["content"], where))
            asked.add("user", [("result", message["tool_call_id"], text)])
        else:
            raise Wrong(f"{where}: role {role!r}")
    for tool in body.get("tools", []):
        need(tool["type"] == "function", "tools: type")
        function = members(tool["function"], ["name"], ["description", "parameters", "strict"], "tools")
        asked.tools[function["name"]] = (function.get("description"), function.get("parameters"))
    choice = body.get("tool_choice", "auto")
    asked.choice = choice if isinstance(choice, str) else ("named", choice["function"]["name"])
    if form := body.get("response_format"):
        need(form["type"] == "json_schema", "response_format")
        asked.schema = members(form["json_schema"], ["name", "schema"], ["strict", "description"], "schema")["schema"]
    return asked


def openai_parts(content, where):
    if isinstance(content, str):
        return [("text", content)]
    parts = []
    for part in content:
        if part["type"] == "text":
            parts.append(("text", members(part, ["type", "text"], [], where)["text"]))
        else:
            need(part["type"] == "image_url", f"{where}: part {part['type']}")
            parts.append(("image", part["image_url"]["url"]))
    return parts


def read_anthropic(_, body):
    optional = [
        "stream", "system", "tools", "tool_choice", "stop_sequences", "temperature", "output_config",
    ]
    members(body, ["model", "messages", "max_tokens"], optional, "request")
    asked = Asked(body["model"], body.get("stream", False), temperature=body.get("temperature"))
    asked.max_tokens, asked.stop = body["max_tokens"], body.get("stop_sequences", [])
    asked.system = "".join(text for _, text in anthropic_parts(body.get("system", ""), "system"))
    open_calls = []
    for at, message in enumerate(body["messages"]):
        where = f"messages[{at}]"
        members(message, ["role", "content"], [], where)
        need(message["role"] in ("user", "assistant"), f"{where}: role")
        need(at > 0 or message["role"] == "user", f"{where}: the first is the user's")
        parts = anthropic_parts(message["content"], where)
        need(parts, f"{where}: says nothing")
        results = [part[1] for part in parts if part[0] == "result"]
        need(sorted(results) == sorted(open_calls), f"{where}: results {results} of {open_calls}")
        need(parts[: len(results)] == [part for part in parts if part[0] == "result"], f"{where}: results first")
        open_calls = [part[1] for part in parts if part[0] == "call"]
        asked.add(message["role"], parts)
    for tool in body.get("tools", []):
        members(tool, ["name", "input_schema"], ["description", "strict"], "tools")
        asked.tools[tool["name"]] = (tool.get("description"), tool["input_schema"])
    choice = body.get("tool_choice", {"type": "auto"})
    asked.choice = ("named", choice["name"]) if choice["type"] == "tool" else {"any": "required"}.get(choice["type"], choice["type"])
    if config := body.get("output_config"):
        form = members(config["format"], ["type", "schema"], [], "output_config")
        need(form["type"] == "json_schema", "output_config")
        asked.schema = form["schema"]
    return asked


def anthropic_parts(content, where):
    if isinstance(content, str):
        return [("text", content)] if content else []
    parts = []
    for block in content:
        kind = block["type"]
        if kind == "text":
            need(members(block, ["type", "text"], [], where)["text"], f"{where}: an empty text")
            parts.append(("text", block["text"]))
        elif kind == "image":
            source = members(block["source"], ["type", "media_type", "data"], [], where)
            parts.append(("image", f"data:{source['media_type']};base64,{source['data']}"))
        elif kind == "tool_use":
            members(block, ["type", "id", "name", "input"], [], where)
            need(block["id"].replace("_", "").replace("-", "").isalnum(), f"{where}: id {block['id']}")
            need(isinstance(block["input"], dict), f"{where}: input")
            parts.append(("call", block["id"], block["name"], block["input"]))
        else:
            need(kind == "tool_result", f"{where}: block {kind}")
            members(block, ["type", "tool_use_id"], ["content", "is_error"], where)
            text = "".join(text for _, text in anthropic_parts(block.get("content", ""), where))
            parts.append(("result", block["tool_use_id"], text))
    return parts


def read_gemini(path, body):
    optional = ["systemInstruction", "tools", "toolConfig", "generationConfig"]
    members(body, ["contents"], optional, "request")
    model, _, method = path.rpartition("/")[2].partition(":")
    need(method in ("generateContent", "streamGenerateContent?alt=sse"), f"method {method}")
    asked = Asked(model, method != "generateContent")
    if system := body.get("systemInstruction"):
        asked.system = "".join(part["text"] for part in system["parts"])
    open_calls = []
    for at, content in enumerate(body["contents"]):
        where, parts = f"contents[{at}]", []
        members(content, ["role", "parts"], [], where)
        need(content["role"] in ("user", "model"), f"{where}: role")
        need(at > 0 or content["role"] == "user", f"{where}: the first is the user's")
        for part in content["parts"]:
            if "text" in part:
                parts.append(("text", members(part, ["text"], [], where)["text"]))
            elif "inlineData" in part:
                data = members(part["inlineData"], ["mimeType", "data"], [], where)
                parts.append(("image", f"data:{data['mimeType']};base64,{data['data']}"))
            elif "functionCall" in part:
                call = members(part["functionCall"], ["name", "args"], ["id"], where)
                first = not any(other[0] == "call" for other in parts)
                need(not first or part.get("thoughtSignature") == SIGNATURE, f"{where}: signature of {part}")
                parts.append(("call", None, call["name"], call["args"]))
                open_calls.append(call["name"])
            else:
                members(part, ["functionResponse"], [], where)
                answer = members(part["functionResponse"], ["name", "response"], ["id"], where)
                need(answer["name"] in open_calls, f"{where}: no call of {answer['name']}")
                open_calls.remove(answer["name"])
                parts.append(("result", None, answer["response"]["result"]))
        asked.add("assistant" if content["role"] == "model" else "user", parts)
    for tool in body.get("tools", []):
        for function in members(tool, ["functionDeclarations"], [], "tools")["functionDeclarations"]:
            members(function, ["name"], ["description", "parametersJsonSchema"], "tools")
            asked.tools[function["name"]] = (function.get("description"), function.get("parametersJsonSchema"))
    if config := body.get("toolConfig"):
        config = config["functionCallingConfig"]
        named = config.get("allowedFunctionNames")
        asked.choice = ("named", named[0]) if named else {"ANY": "required"}.get(config["mode"], config["mode"].lower())
    optional = ["temperature", "maxOutputTokens", "stopSequences", "responseMimeType", "responseJsonSchema"]
    config = members(body.get("generationConfig", {}), [], optional, "generationConfig")
    asked.temperature, asked.max_tokens = config.get("temperature"), config.get("maxOutputTokens")
    asked.stop = config.get("stopSequences", [])
    if "responseJsonSchema" in config:
        need(config["responseMimeType"] == "application/json", "responseMimeType")
        asked.schema = config["responseJsonSchema"]
    return asked


# ===== writing =====


def pieces(text):
    return [text[at : at + 5] for at in range(0, len(text), 5)]


def openai_usage(says):
    return {
        "prompt_tokens": says.input, "completion_tokens": says.output, "total_tokens": says.input + says.output,
        "prompt_tokens_details": {"cached_tokens": says.cached},
    }


def openai_calls(says):
    return [
        {"index": at, "id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for at, (name, arguments) in enumerate(says.calls)
    ]


def openai_finish(says):
    return "tool_calls" if says.calls else says.finish


def whole_openai(asked, says):
    message = {"role": "assistant", "content": says.text or None}
    if says.calls:
        message["tool_calls"] = [{key: call[key] for key in ("id", "type", "function")} for call in openai_calls(says)]
    choice = {"index": 0, "message": message, "finish_reason": openai_finish(says)}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked.model}
    return {**head, "choices": [choice], "usage": openai_usage(says)}


def stream_openai(asked, says):
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": asked.model}

    def chunk(delta, finish=None):
        return None, {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces(says.text):
        yield chunk({"content": piece})
    # As they come from the real one: heads first, and then their arguments in turn.
    calls = openai_calls(says)
    for call in calls:
        yield chunk({"tool_calls": [{**call, "function": {"name": call["function"]["name"], "arguments": ""}}]})
    for call in calls:
        for piece in pieces(call["function"]["arguments"]):
            yield chunk({"tool_calls": [{"index": call["index"], "function": {"arguments": piece}}]})
    yield chunk({}, openai_finish(says))
    yield None, {**head, "choices": [], "usage": openai_usage(says)}
    yield None, "[DONE]"


def anthropic_usage(says):
    return {
        "input_tokens": says.input - says.cached, "cache_read_input_tokens": says.cached,
        "cache_creation_input_tokens": 0, "output_tokens": says.output,
    }


def whole_anthropic(asked, says):
    content = [{"type": "text", "text": says.text}] if says.text else []
    for at, (name, arguments) in enumerate(says.calls):
        content.append({"type": "tool_use", "id": f"toolu_{at}", "name": name, "input": arguments})
    stop = "tool_use" if says.calls else {"stop": "end_turn", "length": "max_tokens"}[says.finish]
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": asked.model, "content": content,
        "stop_reason": stop, "stop_sequence": None, "usage": anthropic_usage(says),
    }


def stream_anthropic(asked, says):
    whole = whole_anthropic(asked, says)
    start = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 1}}
    yield "message_start", {"message": start}
    for index, block in enumerate(whole["content"]):
        if block["type"] == "text":
            yield "content_block_start", {"index": index, "content_block": {"type": "text", "text": ""}}
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
        else:
            yield "content_block_start", {"index": index, "content_block": {**block, "input": {}}}
            parts = ["", *pieces(json.dumps(block["input"]))]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in parts]
        yield "ping", {}
        for delta in deltas:
            yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield "message_delta", {"delta": delta, "usage": {"output_tokens": says.output}}
    yield "message_stop", {}


def gemini(asked, parts, says, finish=None):
    candidate = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    usage = {
        "promptTokenCount": says.input, "cachedContentTokenCount": says.cached,
        "candidatesTokenCount": says.output, "totalTokenCount": says.input + says.output,
    }
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": asked.model, "responseId": "resp-1"}


def gemini_calls(says):
    calls = [{"functionCall": {"name": name, "args": arguments}} for name, arguments in says.calls]
    if calls:
        calls[0]["thoughtSignature"] = SIGNATURE
    return calls


GEMINI_FINISH = {"stop": "STOP", "length": "MAX_TOKENS"}


def whole_gemini(asked, says):
    text = [{"text": says.text}] if says.text else []
    return gemini(asked, text + gemini_calls(says), says, GEMINI_FINISH[says.finish])


def stream_gemini(asked, says):
    for piece in pieces(says.text):
        yield None, gemini(asked, [{"text": piece}], says)
    for call in gemini_calls(says):
        yield None, gemini(asked, [call], says)
    yield None, gemini(asked, [{"text": ""}], says, GEMINI_FINISH[says.finish])


def error_of(dialect, status, message, quota=False):
    """The envelope of an error, and its headers."""
    hint = {"retry-after": RETRY_AFTER} if status in (429, 503, 529) and not quota else {}
    if dialect == "openai":
        kind = "insufficient_quota" if quota else "scripted_error"
        return {"error": {"message": message, "type": kind, "param": None, "code": kind}}, hint
    if dialect == "anthropic":
        kinds = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}
        error = {"type": kinds.get(status, "api_error"), "message": message}
        if quota:
            error["details"] = {"error_code": "enforced_spend_limit_reached"}
        return {"type": "error", "error": error, "request_id": "req-scripted"}, hint
    words = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
    error = {"code": status, "message": message, "status": words.get(status, "INTERNAL")}
    if quota:
        failure = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]}
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", **failure}]
    elif hint:
        # Gemini has no header for it.
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": RETRY_AFTER + "s"}]
    return {"error": error}, {}


DIALECTS = {
    "openai": (read_openai, whole_openai, stream_openai),
    "anthropic": (read_anthropic, whole_anthropic, stream_anthropic),
    "gemini": (read_gemini, whole_gemini, stream_gemini),
}


# ===== serving =====


class Provider:
    """The server, from `with` to the end of its block. `asked` holds every request that was understood."""

    def __init__(self, scenes):
        self.asked, self.headers = [], []
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

            def log_message(self, *_):
                pass

            def do_POST(self):
                raw = self.rfile.read(int(self.headers["content-length"]))
                dialect = self.path.split("/")[1]
                read, whole, stream = DIALECTS[dialect]
                provider.headers.append(dict(self.headers))
                try:
                    asked = read(self.path, json.loads(raw))
                    provider.asked.append(asked)
                    says = scenes[asked.model.partition("-")[2]](asked)
                except (Wrong, KeyError, AssertionError) as error:
                    envelope, headers = error_of(dialect, 400, f"{type(error).__name__}: {error}; in {raw.decode()}")
                    return self.reply(400, envelope, headers)
                if says.status != 200:
                    return self.reply(says.status, *error_of(dialect, says.status, f"scripted {says.status}", says.quota))
                if not asked.stream:
                    return self.reply(200, whole(asked, says), {})
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for name, data in stream(asked, says):
                    if name:
                        data = {"type": name, **data}
                    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
                    frame = (f"event: {name}\n" if name else "") + f"data: {text}\n\n"
                    self.write(frame.encode())
                self.wfile.write(b"0\r\n\r\n")

            def write(self, data):
                """In slices that respect neither lines nor characters, as a network would."""
                for start in range(0, len(data), 37):
                    part = data[start : start + 37]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

            def reply(self, status, body, headers):
                data = json.dumps(body, ensure_ascii=False).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", "content-length": len(data), **headers}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(data)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = "http://127.0.0.1:{}".format(self.server.server_port)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
