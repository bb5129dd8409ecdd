#!/usr/bin/env python3
"""The official OpenAI and Anthropic Python SDKs over endpoints of all three dialects: six pairs.

Each check is one function, run for each SDK over each endpoint. What the endpoint is asked is read
strictly by chat.py, in the endpoint's dialect; what comes back is read by the SDK.
"""

import contextlib
import json
import sys
import traceback

import anthropic
import openai

import chat
from chat import IMAGE, RETRY_AFTER, SCHEMA, Provider, Says
from gateway import Gateway

TEXT = "Grüße aus Köln, mit 🦀 und “Zitat”; zwei\nZeilen, ein \\ und ein \"."
ARGUMENTS = {"city": "Köln \"am\" Rhein\n", "days": [1, 2.5], "nested": {"usage": None}}
TOOLS = {"weather": ("Says the weather.", {"type": "object", "properties": {"city": {"type": "string"}}}), "clock": (None, {"type": "object", "properties": {}})}
IMAGE_URL = f"data:image/png;base64,{IMAGE}"
FINAL = "Twelve degrees."

STATUSES = {
    400: ("BadRequestError", "BadRequestError"),
    401: ("AuthenticationError", "AuthenticationError"),
    403: ("PermissionDeniedError", "PermissionDeniedError"),
    404: ("NotFoundError", "NotFoundError"),
    409: ("ConflictError", "ConflictError"),
    422: ("UnprocessableEntityError", "UnprocessableEntityError"),
    429: ("RateLimitError", "RateLimitError"),
    500: ("InternalServerError", "InternalServerError"),
    503: ("InternalServerError", "ServiceUnavailableError"),
    529: ("InternalServerError", "OverloadedError"),
}


# ===== the scenes: what an endpoint is asked, and what it says =====


def plain(asked):
    assert asked.system == "Be brief.", asked.system
    assert asked.turns == [
        ("user", [("text", "Hi")]), ("assistant", [("text", "Hello?")]), ("user", [("text", TEXT)]),
    ], asked.turns
    assert (asked.stop, asked.temperature, asked.max_tokens) == (["END"], 0.5, 77), asked
    return Says(TEXT)


def tools(asked, calls=1):
    assert asked.tools == TOOLS, asked.tools
    results = [part for _, parts in asked.turns for part in parts if part[0] == "result"]
    if not results:
        wanted = [("weather", ARGUMENTS), ("clock", {})][:calls]
        return Says("One moment.", calls=tuple(wanted))
    made = [part[2:] for _, parts in asked.turns for part in parts if part[0] == "call"]
    assert made == [("weather", ARGUMENTS), ("clock", {})][:calls], made
    assert [part[2] for part in results] == ["12 °C", "noon"][:calls], results
    return Says(FINAL)


def forced(asked):
    assert asked.choice == ("named", "weather"), asked.choice
    return Says(calls=(("weather", ARGUMENTS),))


def image(asked):
    assert asked.turns == [("user", [("text", "What is this?"), ("image", IMAGE_URL)])], asked.turns
    return Says("A picture.")


def schema(asked):
    assert asked.schema == SCHEMA, asked.schema
    return Says('{"city":"Köln","degrees":12}')


def failing(status, quota=False):
    return lambda _: Says(status=status, quota=quota)


SCENES = {
    "plain": plain, "tools": tools, "parallel": lambda asked: tools(asked, 2), "forced": forced, "image": image,
    "schema": schema, "long": lambda _: Says("and then", finish="length"), "quota": failing(429, True),
    **{f"error{status}": failing(status) for status in STATUSES},
}


# ===== the two SDKs behind one face =====


class OpenAi:
    dialect, place = "openai", 0

    def __init__(self, address):
        self.client = openai.OpenAI(base_url=f"{address}/v1", api_key="caller", max_retries=0, timeout=20)

    def create(self, model, messages, stream, **more):
        completions = self.client.chat.completions
        if not stream:
            return completions.create(model=model, messages=messages, **more)
        # The SDK's own way to gather a stream.
        with completions.stream(model=model, messages=messages, stream_options={"include_usage": True}, **more) as events:
            try:
                return events.get_final_completion()
            except openai.LengthFinishReasonError as error:
                return error.completion

    def plain(self, model, stream):
        messages = [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello?"}, {"role": "user", "content": TEXT},
        ]
        return self.create(model, messages, stream, stop=["END"], temperature=0.5, max_tokens=77)

    def ask(self, model, stream=False, **more):
        return self.create(model, [{"role": "user", "content": "Hi"}], stream, **more)

    @staticmethod
    def tools():
        made = []
        for name, (description, parameters) in TOOLS.items():
            function = {"name": name, "parameters": parameters}
            if description:
                function["description"] = description
            made.append({"type": "function", "function": function})
        return made

    def talk(self, model, stream, faithful):
        messages = [{"role": "user", "content": "How is the weather?"}]
        reply = self.create(model, messages, stream, tools=self.tools())
        message = reply.choices[0].message
        assert reply.choices[0].finish_reason == "tool_calls", reply
        assert message.content == "One moment.", reply
        calls = message.tool_calls
        if faithful:
            messages.append(message.model_dump(exclude_none=True, exclude={"tool_calls": {"__all__": {"function": {"parsed_arguments"}}}, "parsed": True}))
        else:
            # As those do who keep the calls and nothing else.
            made = [{"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": call.function.arguments}} for call in calls]
            messages.append({"role": "assistant", "content": message.content, "tool_calls": made})
        for call, result in zip(calls, ["12 °C", "noon"]):
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        made = [(call.function.name, json.loads(call.function.arguments)) for call in calls]
        return made, self.text(self.create(model, messages, stream, tools=self.tools()))

    def force(self, model, stream):
        choice = {"type": "function", "function": {"name": "weather"}}
        reply = self.ask(model, stream, tools=self.tools(), tool_choice=choice)
        return json.loads(reply.choices[0].message.tool_calls[0].function.arguments)

    def look(self, model, stream):
        parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": IMAGE_URL}}]
        return self.create(model, [{"role": "user", "content": parts}], stream)

    def shaped(self, model, stream):
        form = {"name": "weather", "schema": SCHEMA, "strict": True}
        return self.ask(model, stream, response_format={"type": "json_schema", "json_schema": form})

    @staticmethod
    def text(reply):
        return reply.choices[0].message.content

    @staticmethod
    def usage(reply):
        usage = reply.usage
        return usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, usage.completion_tokens

    @staticmethod
    def finish(reply):
        return reply.choices[0].finish_reason

    @staticmethod
    def message(error):
        return error.body["message"]


class Anthropic:
    dialect, place = "anthropic", 1

    def __init__(self, address):
        self.client = anthropic.Anthropic(base_url=address, api_key="caller", max_retries=0, timeout=20)

    def create(self, model, messages, stream, max_tokens=64, **more):
        every = {"model": model, "messages": messages, "max_tokens": max_tokens, **more}
        if not stream:
            return self.client.messages.create(**every)
        with self.client.messages.stream(**every) as events:
            return events.get_final_message()

    def plain(self, model, stream):
        messages = [
            {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello?"}, {"role": "user", "content": TEXT},
        ]
        return self.create(model, messages, stream, 77, system="Be brief.", stop_sequences=["END"], extra_body={"temperature": 0.5})

    def ask(self, model, stream=False, **more):
        return self.create(model, [{"role": "user", "content": "Hi"}], stream, **more)

    @staticmethod
    def tools():
        made = []
        for name, (description, parameters) in TOOLS.items():
            tool = {"name": name, "input_schema": parameters}
            if description:
                tool["description"] = description
            made.append(tool)
        return made

    def talk(self, model, stream, faithful):
        messages = [{"role": "user", "content": "How is the weather?"}]
        reply = self.create(model, messages, stream, tools=self.tools())
        assert reply.stop_reason == "tool_use", reply
        calls = [block for block in reply.content if block.type == "tool_use"]
        assert "".join(block.text for block in reply.content if block.type == "text") == "One moment.", reply
        if faithful:
            content = reply.content
        else:
            content = [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input} for call in calls]
        messages.append({"role": "assistant", "content": content})
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": result}
            for call, result in zip(calls, ["12 °C", "noon"])
        ]
        messages.append({"role": "user", "content": results})
        made = [(call.name, call.input) for call in calls]
        return made, self.text(self.create(model, messages, stream, tools=self.tools()))

    def force(self, model, stream):
        reply = self.ask(model, stream, tools=self.tools(), tool_choice={"type": "tool", "name": "weather"})
        return reply.content[0].input

    def look(self, model, stream):
        source = {"type": "base64", "media_type": "image/png", "data": IMAGE}
        parts = [{"type": "text", "text": "What is this?"}, {"type": "image", "source": source}]
        return self.create(model, [{"role": "user", "content": parts}], stream)

    def shaped(self, model, stream):
        return self.ask(model, stream, output_config={"format": {"type": "json_schema", "schema": SCHEMA}})

    @staticmethod
    def text(reply):
        return "".join(block.text for block in reply.content if block.type == "text")

    @staticmethod
    def usage(reply):
        usage = reply.usage
        cached = usage.cache_read_input_tokens or 0
        return usage.input_tokens + cached + (usage.cache_creation_input_tokens or 0), cached, usage.output_tokens

    @staticmethod
    def finish(reply):
        return {"end_turn": "stop", "max_tokens": "length"}[reply.stop_reason]

    @staticmethod
    def message(error):
        assert error.body["type"] == "error", error.body
        return error.body["error"]["message"]


# ===== the checks =====


def both(function):
    """Whole, and streamed."""

    def check(face, model):
        for stream in (False, True):
            function(face, model, stream)

    check.__name__ = function.__name__
    return check


@both
def text_usage_and_finish(face, model, stream):
    reply = face.plain(model("plain"), stream)
    assert face.text(reply) == TEXT, reply
    assert face.usage(reply) == (20, 4, 9), reply
    assert face.finish(reply) == "stop", reply
    assert reply.id, reply


@both
def a_limit_that_was_reached(face, model, stream):
    assert face.finish(face.ask(model("long"), stream)) == "length"


@both
def a_tool(face, model, stream):
    for faithful in (True, False):
        made, text = face.talk(model("tools"), stream, faithful)
        assert made == [("weather", ARGUMENTS)], made
        assert text == FINAL, text


@both
def parallel_tools(face, model, stream):
    for faithful in (True, False):
        made, text = face.talk(model("parallel"), stream, faithful)
        assert made == [("weather", ARGUMENTS), ("clock", {})], made
        assert text == FINAL, text


@both
def a_tool_that_is_asked_for(face, model, stream):
    assert face.force(model("forced"), stream) == ARGUMENTS


@both
def an_image(face, model, stream):
    assert face.text(face.look(model("image"), stream)) == "A picture."


@both
def structured_output(face, model, stream):
    assert json.loads(face.text(face.shaped(model("schema"), stream))) == {"city": "Köln", "degrees": 12}


def each_error_is_the_sdks_own(face, model):
    for status, kinds in STATUSES.items():
        for stream in (False, True):
            error = raises(face.ask, model(f"error{status}"), stream)
            assert type(error).__name__ == kinds[face.place], f"{status}: {type(error).__name__}: {error}"
            assert error.status_code == status, error
            assert face.message(error) == f"scripted {status}", error.body
            hint = error.response.headers.get("retry-after")
            assert hint == (RETRY_AFTER if status in (429, 503, 529) else None), f"{status}: {hint}"


def a_spent_quota_is_not_asked_again(face, model):
    error = raises(face.ask, model("quota"))
    assert error.status_code == 429, error
    assert "retry-after" not in error.response.headers, error.response.headers
    own = model("").startswith(face.dialect)
    assert own or error.response.headers.get("x-should-retry") == "false", error.response.headers


def what_cannot_be_said_is_a_bad_request_with_its_name(face, model):
    if model("").startswith(face.dialect):
        return
    error = raises(face.ask, model("plain"), extra_body={"x_unheard_of": {"a": 1}})
    assert type(error).__name__ == "BadRequestError", error
    assert "x_unheard_of" in face.message(error), error.body


def raises(call, *arguments, **named):
    try:
        result = call(*arguments, **named)
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        return error
    raise AssertionError(f"no error, but {result!r}")


CHECKS = [
    text_usage_and_finish, a_limit_that_was_reached, a_tool, parallel_tools, a_tool_that_is_asked_for, an_image,
    structured_output, each_error_is_the_sdks_own, a_spent_quota_is_not_asked_again,
    what_cannot_be_said_is_a_bad_request_with_its_name,
]


# ===== running them =====


def configuration(provider):
    # What is checked is what becomes of one attempt.
    lines = ['listen = "127.0.0.1:0"', "[retry]", "attempts = 1"]
    for dialect, base in (("openai", "/openai/v1"), ("anthropic", "/anthropic"), ("gemini", "/gemini")):
        models = [f"{dialect}-{scene}" for scene in SCENES]
        lines += [
            "[[endpoint]]", f'name = "{dialect}"', f'dialect = "{dialect}"', f'base_url = "{provider.address}{base}"',
            f'key_env = "KEY_{dialect.upper()}"', f"models = {json.dumps(models)}",
            "[[route]]", f'model = "{dialect}-*"', f'endpoints = ["{dialect}"]',
        ]
    return "\n".join(lines) + "\n"


def main():
    failed = []
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(Provider(SCENES))
        keys = {f"KEY_{dialect.upper()}": f"endpoint-{dialect}" for dialect in chat.DIALECTS}
        gateway = stack.enter_context(Gateway(configuration(provider), **keys))
        for face in (OpenAi(gateway.address), Anthropic(gateway.address)):
            listed = {model.id for model in face.client.models.list()}
            assert {f"{dialect}-plain" for dialect in chat.DIALECTS} <= listed, listed
            for dialect in chat.DIALECTS:
                for check in CHECKS:
                    name = f"{face.dialect} over {dialect}: {check.__name__}"
                    try:
                        check(face, lambda scene: f"{dialect}-{scene}")
                        print(f"ok     {name}")
                    except Exception:
                        print(f"FAILED {name}")
                        traceback.print_exc(limit=-4, file=sys.stdout)
                        failed.append(name)
        leaked = [headers for headers in provider.headers if "caller" in json.dumps(headers)]
        if leaked:
            failed.append(f"the caller's key went upstream: {leaked[0]}")
    if failed:
        sys.exit("failed:\n" + "\n".join(failed))
    print("all passed")


if __name__ == "__main__":
    main()
