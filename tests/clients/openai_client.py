"""Calls the gateway with the official OpenAI client: plain, streamed, a model
that is not allowed. Prints what came back as JSON. Address and key are in the
environment, as any application has them."""

import json

import openai

client = openai.OpenAI(max_retries=0, timeout=30)
messages = [{"role": "user", "content": "hello"}]

plain = client.chat.completions.create(model="scripted", messages=messages)
streamed, usage = "", None
stream = client.chat.completions.create(
    model="scripted", messages=messages, stream=True, stream_options={"include_usage": True}
)
for chunk in stream:
    if chunk.choices:
        streamed += chunk.choices[0].delta.content or ""
    if chunk.usage:
        usage = chunk.usage.total_tokens
try:
    client.chat.completions.create(model="other", messages=messages)
    denied = None
except openai.APIStatusError as error:
    denied = f"{type(error).__name__} {error.status_code}"

print(
    json.dumps(
        {
            "plain": plain.choices[0].message.content,
            "streamed": streamed,
            "usage": usage,
            "models": sorted(model.id for model in client.models.list()),
            "denied": denied,
        }
    )
)
