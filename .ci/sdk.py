#!/usr/bin/env python3
"""The official OpenAI and Anthropic Python SDKs against the running gateway.

    sdk.py             through the gateway that `cargo build --release -p gateway` has built
    sdk.py --direct    straight at the scripted provider, which tests the checks themselves

Behind the gateway stands the provider of provider.py, so that every failure can be asked for by a
model's name. Each check is one function, run once for each SDK.
"""

import argparse
import concurrent.futures
import contextlib
import hashlib
import json
import sys
import time
import traceback
import urllib.parse

import anthropic
import httpx2
import openai

import provider as scripted
from gateway import Gateway
from provider import INPUT, OUTPUT, RETRY_AFTER, TEXT, Provider

BODY_LIMIT = 64 * 1024
CALLER_KEY = "caller-key-7f3a9c5e1b"
ENDPOINT_KEYS = {"openai": "endpoint-key-openai-4d2b8f", "anthropic": "endpoint-key-anthropic-9e6c1a"}
PROMPT = "a prompt that nobody should find in a log"

# What an upstream answers, and the exception of each SDK for it.
STATUSES = {
    400: {"openai": "BadRequestError", "anthropic": "BadRequestError"},
    401: {"openai": "AuthenticationError", "anthropic": "AuthenticationError"},
    402: {"openai": "APIStatusError", "anthropic": "PaymentRequiredError"},
    403: {"openai": "PermissionDeniedError", "anthropic": "PermissionDeniedError"},
    404: {"openai": "NotFoundError", "anthropic": "NotFoundError"},
    408: {"openai": "APIStatusError", "anthropic": "RequestTimeoutError"},
    409: {"openai": "ConflictError", "anthropic": "ConflictError"},
    413: {"openai": "APIStatusError", "anthropic": "ContentTooLargeError"},
    422: {"openai": "UnprocessableEntityError", "anthropic": "UnprocessableEntityError"},
    429: {"openai": "RateLimitError", "anthropic": "RateLimitError"},
    500: {"openai": "InternalServerError", "anthropic": "InternalServerError"},
    502: {"openai": "InternalServerError", "anthropic": "InternalServerError"},
    503: {"openai": "InternalServerError", "anthropic": "ServiceUnavailableError"},
    504: {"openai": "InternalServerError", "anthropic": "GatewayTimeoutError"},
    529: {"openai": "InternalServerError", "anthropic": "OverloadedError"},
}
BEHAVIOURS = ["ok", "quota", "early-error", "late-error", "cut", "endless", "silent"]
BEHAVIOURS += [f"error-{status}" for status in STATUSES]


# ===== the two SDKs behind one face =====


class OpenAi:
    dialect, family, sdk = "openai", "gpt", openai
    path = "/v1/chat/completions"

    def __init__(self, address):
        self.client = openai.OpenAI(base_url=f"{address}/v1", api_key=CALLER_KEY, max_retries=0, timeout=20)

    def ask(self, model, **more):
        messages = [{"role": "user", "content": PROMPT}]
        return self.client.chat.completions.create(model=model, messages=messages, **more)

    def unary(self, model, **more):
        reply = self.ask(model, **more)
        return reply.choices[0].message.content, (reply.usage.prompt_tokens, reply.usage.completion_tokens)

    def stream(self, model, **more):
        return self.ask(model, stream=True, **more)

    @staticmethod
    def text(event):
        return event.choices[0].delta.content or ""

    def raw(self, content):
        # `object` asks for no parsing beyond JSON.
        return self.client.post("/chat/completions", content=content, cast_to=object, options=JSON_TYPE)

    @staticmethod
    def envelope(error):
        """Type and message of the error, read from the body as the SDK hands it out."""
        return error.body["type"], error.body["message"]


class Anthropic:
    dialect, family, sdk = "anthropic", "claude", anthropic
    path = "/v1/messages"

    def __init__(self, address):
        self.client = anthropic.Anthropic(base_url=address, api_key=CALLER_KEY, max_retries=0, timeout=20)

    def ask(self, model, **more):
        messages = [{"role": "user", "content": PROMPT}]
        return self.client.messages.create(model=model, messages=messages, max_tokens=64, **more)

    def unary(self, model, **more):
        reply = self.ask(model, **more)
        return reply.content[0].text, (reply.usage.input_tokens, reply.usage.output_tokens)

    def stream(self, model, **more):
        return self.ask(model, stream=True, **more)

    @staticmethod
    def text(event):
        return event.delta.text if event.type == "content_block_delta" else ""

    def raw(self, content):
        return self.client.post("/v1/messages", content=content, cast_to=object, options=JSON_TYPE)

    @staticmethod
    def envelope(error):
        assert error.body["type"] == "error", error.body
        return error.body["error"]["type"], error.body["error"]["message"]


JSON_TYPE = {"headers": {"content-type": "application/json"}}


class Context:
    """What a check is given: an SDK, and the provider behind."""

    def __init__(self, face, provider, direct):
        self.face, self.provider, self.direct = face, provider, direct

    def model(self, does):
        return f"{self.face.family}-{does}"

    def seen(self):
        """The last request that reached the provider."""
        return self.provider.seen[-1]

    def raises(self, kind, call, *arguments, **named):
        """The exception that the call ends with, which has to be of exactly this class, or one of them."""
        kinds = kind if isinstance(kind, tuple) else (kind,)
        try:
            result = call(*arguments, **named)
        except Exception as error:
            assert type(error).__name__ in kinds, f"{type(error).__name__}, not {kind}: {error}"
            return error
        raise AssertionError(f"no {kind}, but {result!r}")


# ===== the checks =====

CHECKS = []


def check(function=None, *, gateway=False, only=None):
    """Marks a check; `gateway` means that the provider alone could not pass it, `only` names a dialect."""

    def mark(function):
        function.gateway, function.only = gateway, only
        CHECKS.append(function)
        return function

    return mark(function) if function else mark


@check
def lists_the_models(x):
    listed = {model.id for model in x.face.client.models.list()}
    missing = {x.model(does) for does in BEHAVIOURS} - listed
    assert not missing, f"not listed: {sorted(missing)}; listed: {sorted(listed)}"


@check
def unary(x):
    text, usage = x.face.unary(x.model("ok"))
    assert text == TEXT, text
    assert usage == (INPUT, OUTPUT), usage


@check
def streamed(x):
    events = list(x.face.stream(x.model("ok")))
    assert "".join(map(x.face.text, events)) == TEXT, events
    assert sum(1 for event in events if x.face.text(event)) == len(scripted.pieces()), "events were joined"


@check(only="openai")
def a_stream_without_asking_for_usage_has_none(x):
    for event in x.face.stream(x.model("ok")):
        assert event.choices, f"a chunk without choices: {event}"
        assert event.usage is None, f"usage that nobody asked for: {event}"


@check(only="openai")
def a_stream_that_asks_for_usage_ends_with_it(x):
    events = list(x.face.stream(x.model("ok"), stream_options={"include_usage": True}))
    assert events[-1].choices == [], events[-1]
    assert events[-1].usage.prompt_tokens == INPUT and events[-1].usage.completion_tokens == OUTPUT
    assert all(event.usage is None for event in events[:-1])


@check(only="anthropic")
def the_streaming_helper_collects_message_and_usage(x):
    with x.face.client.messages.stream(
        model=x.model("ok"), max_tokens=64, messages=[{"role": "user", "content": PROMPT}]
    ) as stream:
        assert "".join(stream.text_stream) == TEXT
        usage = stream.get_final_message().usage
    assert (usage.input_tokens, usage.output_tokens) == (INPUT, OUTPUT), usage


@check
def thirty_two_streams_at_once_are_whole(x):
    def one(_):
        return "".join(x.face.text(event) for event in x.face.stream(x.model("ok")))

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        texts = list(pool.map(one, range(32)))
    assert texts == [TEXT] * 32


@check
def each_status_of_the_upstream_is_the_sdks_own_exception(x):
    for status, kinds in STATUSES.items():
        for call in (x.face.unary, x.face.stream):
            error = x.raises(kinds[x.face.dialect], call, x.model(f"error-{status}"))
            assert error.status_code == status, error.status_code
            expected = scripted.envelope_type(x.face.dialect, status), f"scripted {status}"
            assert x.face.envelope(error) == expected, f"{status}: {error.body}"
            assert error.request_id == "req-scripted", f"{status}: request id {error.request_id}"


@check
def the_hint_of_the_upstream_is_kept(x):
    for status in (429, 503, 529):
        kind = STATUSES[status][x.face.dialect]
        headers = x.raises(kind, x.face.unary, x.model(f"error-{status}")).response.headers
        assert headers.get("retry-after") == RETRY_AFTER, f"{status}: {dict(headers)}"
        if x.face.dialect == "openai":
            assert headers.get("retry-after-ms") == RETRY_AFTER + "000", f"{status}: {dict(headers)}"


@check
def a_spent_quota_says_so(x):
    if x.face.dialect == "openai":
        error = x.raises("RateLimitError", x.face.unary, x.model("quota"))
        assert error.code == "insufficient_quota", error.body
    else:
        error = x.raises("EnforcedSpendLimitReachedError", x.face.unary, x.model("quota"))
    assert "retry-after" not in error.response.headers


@check
def malformed_json_is_a_bad_request(x):
    for content in (b"{", b"", b"[]", b'{"model": 1}', b'{"model": "\xff"}'):
        error = x.raises("BadRequestError", x.face.raw, content)
        kind, message = x.face.envelope(error)
        assert kind == "invalid_request_error" and message, error.body


@check
def an_unknown_model_is_not_found(x):
    for model in (x.model("nowhere"), "nowhere"):
        error = x.raises("NotFoundError", x.face.unary, model)
        _, message = x.face.envelope(error)
        assert message, error.body


@check
def a_body_over_the_limit_is_too_large(x):
    content = json.dumps({"model": x.model("ok"), "messages": [], "pad": "x" * BODY_LIMIT}).encode()
    error = x.raises(STATUSES[413][x.face.dialect], x.face.raw, content)
    assert error.status_code == 413, error.status_code
    _, message = x.face.envelope(error)
    assert message, error.body


@check(gateway=True)
def an_upstream_that_refuses_connections_is_a_server_error(x):
    # Which of the 5xx is the gateway's choice.
    kinds = "InternalServerError", "ServiceUnavailableError", "GatewayTimeoutError"
    error = x.raises(kinds, x.face.unary, x.model("unreachable"))
    _, message = x.face.envelope(error)
    assert message, error.body


@check
def an_error_before_the_first_content_reaches_the_caller(x):
    def drain():
        return list(x.face.stream(x.model("early-error")))

    kinds = "APIError", "APIStatusError", STATUSES[529][x.face.dialect]
    error = x.raises(kinds, drain)
    assert "scripted early error" in str(error), error


@check
def an_error_in_the_middle_comes_after_what_was_delivered(x):
    got = []

    def drain():
        for event in x.face.stream(x.model("late-error")):
            got.append(x.face.text(event))

    error = x.raises(("APIError", "APIStatusError"), drain)
    assert "scripted late error" in str(error), error
    assert "".join(got) == "".join(scripted.pieces()[: len(scripted.pieces()) // 2]), got


@check
def a_stream_that_was_cut_does_not_end_as_if_it_were_whole(x):
    got = []

    def drain():
        for event in x.face.stream(x.model("cut")):
            got.append(x.face.text(event))

    # Anthropic's SDK lets the transport's own exception through.
    x.raises(("APIError", "APIStatusError", "APIConnectionError", "RemoteProtocolError"), drain)
    assert "".join(got) == "".join(scripted.pieces()[: len(scripted.pieces()) // 2]), got


@check
def a_caller_who_leaves_a_stream_ends_it_upstream(x):
    stream = x.face.stream(x.model("endless"))
    for _ in zip(range(8), stream):
        pass
    seen = x.seen()
    assert not seen.left.is_set()
    left(seen, stream.close)


@check
def a_caller_who_gives_up_waiting_ends_the_call_upstream(x):
    client = x.face.client
    x.face.client = client.with_options(timeout=0.5)
    try:
        x.raises("APITimeoutError", x.face.unary, x.model("silent"))
    finally:
        x.face.client = client
    left(x.seen())


def left(seen, leave=lambda: None):
    """Leaves, and sees that the provider noticed."""
    start = time.monotonic()
    leave()
    assert seen.left.wait(2), "two seconds later the provider still has its caller"
    print(f"       noticed upstream after {(time.monotonic() - start) * 1000:.0f} ms")


@check(gateway=True)
def the_endpoints_key_goes_out_and_the_callers_does_not(x):
    cookie = {"cookie": "session=1", "x-api-key": CALLER_KEY}
    for headers in ({}, cookie):
        x.face.unary(x.model("ok"), extra_headers=headers)
        sent = x.seen().headers
        assert CALLER_KEY not in json.dumps(sent), sent
        assert "cookie" not in sent, sent
        key = ENDPOINT_KEYS[x.face.dialect]
        if x.face.dialect == "openai":
            assert sent["authorization"] == [f"Bearer {key}"], sent
        else:
            assert sent["x-api-key"] == [key] and "authorization" not in sent, sent
            # The version that the SDK speaks, not one that the gateway knows.
            assert sent["anthropic-version"] == [x.face.client.default_headers["anthropic-version"]], sent


@check(gateway=True)
def the_upstream_is_asked_for_plain_bytes_at_its_own_address(x):
    x.face.unary(x.model("ok"))
    seen = x.seen()
    assert seen.path == f"/{x.face.dialect}{x.face.path}", seen.path
    assert seen.headers["accept-encoding"] == ["identity"], seen.headers
    assert seen.headers["host"] == [urllib.parse.urlsplit(x.provider.address).netloc], seen.headers


@check(gateway=True)
def a_body_goes_out_as_it_came(x):
    # White space, number forms, escapes and unknown fields that a re-encoding would lose.
    content = f"""{{ "model":"{x.model("ok")}" ,"max_tokens":64, "x_new":{{"b":1.0,"a":1e2}},
        "messages":[{{"role":"user","content":"\\u00e9 \\/ é"}}] }}""".encode()
    x.face.raw(content)
    assert x.seen().raw == content, x.seen().raw


@check(gateway=True)
def a_route_renames_the_model(x):
    text, _ = x.face.unary(f"{x.face.family}-alias", extra_body={"x_new": [1.0, "\u00e9"]})
    assert text == TEXT
    body = x.seen().body
    assert body["model"] == x.model("ok"), body
    assert body["x_new"] == [1.0, "\u00e9"], body


@check(gateway=True, only="openai")
def usage_is_asked_for_upstream_though_the_caller_did_not(x):
    list(x.face.stream(x.model("ok")))
    assert x.seen().body["stream_options"] == {"include_usage": True}, x.seen().body


@check(only="openai")
def embeddings_pass(x):
    reply = x.face.client.embeddings.create(model=x.model("ok"), input="text", encoding_format="float")
    assert reply.data[0].embedding == [0.25, -0.5], reply


@check(only="openai")
def the_responses_api_passes(x):
    assert x.face.client.responses.create(model=x.model("ok"), input="text").output_text == TEXT


@check(only="openai")
def embeddings_of_an_unknown_model_are_not_found(x):
    error = x.raises("NotFoundError", x.face.client.embeddings.create, model="nowhere", input="text")
    _, message = x.face.envelope(error)
    assert message, error.body


@check(only="anthropic")
def token_counting_passes(x):
    reply = x.face.client.messages.count_tokens(
        model=x.model("ok"), messages=[{"role": "user", "content": PROMPT}]
    )
    assert reply.input_tokens == INPUT, reply


# ===== running them =====


def configuration(provider):
    """An endpoint for each model, so that what one of them does to its endpoint is no other's trouble."""
    # What is checked is what becomes of one attempt.
    lines = ['listen = "127.0.0.1:0"', "[limits]", f"body = {BODY_LIMIT}", "[retry]", "attempts = 1"]

    def endpoint(name, dialect, base, models):
        lines.extend(
            [
                "[[endpoint]]", f'name = "{name}"', f'dialect = "{dialect}"', f'base_url = "{base}"',
                f'key_env = "KEY_{dialect.upper()}"', f"models = {json.dumps(models)}",
            ]
        )

    def route(model, name, rename=None):
        lines.extend(["[[route]]", f'model = "{model}"', f'endpoints = ["{name}"]'])
        if rename:
            lines.append(f'rename = "{rename}"')

    for face in (OpenAi, Anthropic):
        base = f"{provider.address}/{face.dialect}" + ("/v1" if face is OpenAi else "")
        for does in BEHAVIOURS:
            model = f"{face.family}-{does}"
            endpoint(model, face.dialect, base, [model])
            route(model, model)
        route(f"{face.family}-ali*", f"{face.family}-ok", rename=f"{face.family}-ok")
        # Port 1 is privileged and unused: connecting to it is refused at once.
        endpoint(f"{face.family}-unreachable", face.dialect, "http://127.0.0.1:1/v1", [f"{face.family}-unreachable"])
        route(f"{face.family}-unreachable", f"{face.family}-unreachable")
    return "\n".join(lines) + "\n"


def run_all(faces, provider, direct):
    failed = []
    for function in CHECKS:
        for face in faces:
            if (direct and function.gateway) or function.only not in (None, face.dialect):
                continue
            name = f"{face.dialect:9} {function.__name__}"
            try:
                function(Context(face, provider, direct))
                print(f"ok     {name}")
            except Exception:
                print(f"FAILED {name}")
                traceback.print_exc(limit=-3, file=sys.stdout)
                failed.append(name)
    return failed


def simulated():
    """The gateway without a file: models of both dialects answer, though one endpoint misbehaves."""
    with Gateway() as gateway:
        faces = [OpenAi(gateway.address), Anthropic(gateway.address)]
        models = [model.id for model in faces[0].client.models.list()]
        for face in faces:
            whole = []
            for model in models:
                try:
                    unary, _ = face.unary(model)
                    streamed = "".join(map(face.text, face.stream(model)))
                except (face.sdk.APIError, httpx2.HTTPError) as error:
                    if model != "sim-flaky":
                        raise
                    print(f"       {face.dialect:9} {model}: {type(error).__name__}")
                    continue
                if unary and streamed:
                    whole.append(model)
            if not whole:
                raise AssertionError(f"no simulated model answers {face.dialect}: {models}")
            print(f"ok     {face.dialect:9} simulated: {', '.join(whole)}")


def callers(provider):
    """Who asks is known by a key, and gets what is allowed to it."""
    keys = {"alice": "key-of-alice-31c4", "expired": "key-of-the-past-77a1", "narrow": "key-of-few-models-b0d2"}
    more = {"expired": "expires = 2020-01-01T00:00:00Z", "narrow": 'models = ["gpt-error-*", "claude-error-*"]'}
    configured = configuration(provider)
    for name, key in keys.items():
        digest = hashlib.sha256(key.encode()).hexdigest()
        configured += f'[[callers]]\nname = "{name}"\nkey_sha256 = "{digest}"\n{more.get(name, "")}\n'
    endpoints = {f"KEY_{dialect.upper()}": key for dialect, key in ENDPOINT_KEYS.items()}
    with Gateway(configured, **endpoints) as gateway:
        for make in (OpenAi, Anthropic):
            x = Context(make(gateway.address), provider, False)
            for key, kind in (
                (keys["alice"], None),
                ("key-of-nobody-0000", "AuthenticationError"),
                (keys["expired"], "AuthenticationError"),
                (keys["narrow"], "PermissionDeniedError"),
            ):
                x.face.client.api_key = key
                if kind is None:
                    text, _ = x.face.unary(x.model("ok"))
                    assert text == TEXT, text
                    sent = x.seen().headers
                    assert key not in str(sent) and ENDPOINT_KEYS[x.face.dialect] in str(sent), sent
                    assert x.model("ok") in {model.id for model in x.face.client.models.list()}
                else:
                    before = len(provider.seen)
                    x.raises(kind, x.face.unary, x.model("ok"))
                    assert len(provider.seen) == before, "the provider was asked"
            print(f"ok     {x.face.dialect:9} callers are known by their keys")
        for key in keys.values():
            if key in gateway.output():
                raise AssertionError("a caller's key is in what the gateway printed")
        if "caller=alice" not in gateway.output():
            raise AssertionError("the log does not name the caller")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--direct", action="store_true", help="without the gateway")
    options = arguments.parse_args()

    models = [f"{face.family}-{does}" for face in (OpenAi, Anthropic) for does in BEHAVIOURS]
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(Provider(models, BODY_LIMIT))
        if options.direct:
            faces = [OpenAi(f"{provider.address}/openai"), Anthropic(f"{provider.address}/anthropic")]
            failed = run_all(faces, provider, direct=True)
        else:
            keys = {f"KEY_{dialect.upper()}": key for dialect, key in ENDPOINT_KEYS.items()}
            gateway = stack.enter_context(Gateway(configuration(provider), **keys))
            faces = [OpenAi(gateway.address), Anthropic(gateway.address)]
            failed = run_all(faces, provider, direct=False)
            secrets = [CALLER_KEY, PROMPT, *ENDPOINT_KEYS.values()]
            if any(secret in gateway.output() for secret in secrets):
                failed.append("a key or a prompt is in what the gateway printed")
            for part in (lambda: callers(provider), simulated):
                try:
                    part()
                except Exception:
                    traceback.print_exc(file=sys.stdout)
                    failed.append("callers, or simulated endpoints")
    if failed:
        sys.exit("failed:\n" + "\n".join(failed))
    print("all passed")


if __name__ == "__main__":
    main()
