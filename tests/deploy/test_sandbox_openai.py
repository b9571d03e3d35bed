"""The sandbox as OpenAI Images."""

import base64
import io
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

URL = "/v1/images/generations"
BODY = {"model": "gpt-image-2.5-flare", "prompt": "a fox", "size": "128x64"}


def _image(answer: httpx.Response) -> Image.Image:
    encoded = answer.json()["data"][0]["b64_json"]
    decoded = Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))
    decoded.load()
    return decoded


async def test_makes_an_image(images: httpx.AsyncClient) -> None:
    """The answer has the documented members and the image of the size asked."""
    answer = await images.post(URL, json=BODY)
    assert answer.status_code == 200
    assert answer.headers["x-request-id"].startswith("req_")
    assert set(answer.json()) == {"created", "size", "quality", "output_format", "data", "usage"}
    assert _image(answer).size == (128, 64)


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
async def test_output_format(images: httpx.AsyncClient, image_format: str) -> None:
    """`output_format` is what comes."""
    answer = await images.post(URL, json=BODY | {"output_format": image_format})
    assert _image(answer).format == image_format.upper()


async def test_is_deterministic(images: httpx.AsyncClient) -> None:
    """The same request gives the same image."""
    first, second = [(await images.post(URL, json=BODY)).json()["data"] for _ in range(2)]
    assert first == second


async def test_wrong_key(images: httpx.AsyncClient) -> None:
    """A wrong key is OpenAI's 401."""
    answer = await images.post(URL, json=BODY, headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"size": "10x10"}, 400, "invalid_value", "size"),
        ({"size": "huge"}, 400, "invalid_value", "size"),
        ({"prompt": ""}, 400, "invalid_value", "prompt"),
        ({"output_format": "tiff"}, 400, "invalid_value", "output_format"),
        ({"model": "dall-e-3"}, 404, "model_not_found", "model"),
    ],
)
async def test_wrong_request(
    images: httpx.AsyncClient, change: dict[str, str], status: int, code: str, param: str
) -> None:
    """A wrong value is refused with its code and the parameter's name."""
    answer = await images.post(URL, json=BODY | change)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)


@pytest.mark.parametrize(("word", "stage"), [("forbidden", "input"), ("indecent", "output")])
async def test_moderation_by_words(images: httpx.AsyncClient, word: str, stage: str) -> None:
    """Words in the prompt make the service refuse as the real one does."""
    answer = await images.post(URL, json=BODY | {"prompt": f"a {word} fox"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "moderation_blocked")
    assert error["moderation_details"]["moderation_stage"] == stage


async def test_fault_by_word(images: httpx.AsyncClient) -> None:
    """`sandbox:throttled` in the prompt is a 429 with Retry-After."""
    answer = await images.post(URL, json=BODY | {"prompt": "a fox sandbox:throttled"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")


async def test_models(images: httpx.AsyncClient) -> None:
    """The list of models is a cheap way to check a key."""
    assert (await images.get("/v1/models")).json()["data"][0]["object"] == "model"
    wrong = await images.get("/v1/models", headers={"Authorization": "Bearer wrong"})
    assert wrong.status_code == 401


async def test_calls_are_counted(images: httpx.AsyncClient, calls: Callable[[], Any]) -> None:
    """The call log has each call with its outcome; only the accepted one is paid for."""
    await images.post(URL, json=BODY, headers={"traceparent": "00-1-2-01"})
    await images.post(URL, json=BODY | {"prompt": "forbidden"})
    log = await calls()
    assert log["paid"] == 1
    assert [call["outcome"] for call in log["calls"]] == ["accepted", "refused: moderated_input"]
    first = log["calls"][0]
    assert first["request"] == BODY
    assert (first["protocol"], first["model"]) == ("openai", BODY["model"])
    assert first["traceparent"] == "00-1-2-01"
