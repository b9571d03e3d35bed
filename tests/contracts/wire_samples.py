"""One good example of each event, as it stands on the wire; tests change one thing at a time."""

from typing import Any

REQUESTED: dict[str, Any] = {
    "requestId": "0b6f2c1e-3a55-4a8e-9a51-6a8c9c1f0a01",
    "correlationId": "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
    "userId": "7a0f4a0e-52cf-4e0c-8a35-6f2d6dc1a002",
    "prompt": "A lighthouse at dusk, oil on canvas",
    "negativePrompt": "people",
    "modelId": "11111111-1111-4111-8111-111111111111",
    "resolution": "1024x768",
    "aspectRatio": "4:3",
    "seed": 42,
    "inferenceSteps": 30,
    "cfgScale": 7.5,
    "campaignId": "5d9a4b57-cd2b-4c8e-9d0c-0a6f3b7ac003",
    "callbackUrl": "https://odoo.example.com/influencegen/n8ncallback/aiimage",
    "payloadVersion": "1.0",
}

COMPLETED: dict[str, Any] = {
    "requestId": REQUESTED["requestId"],
    "correlationId": REQUESTED["correlationId"],
    "status": "completed",
    "imageUrl": "https://s3.example.com/duragen/generations/a.png?X-Amz-Expires=3600",
    "imageMetadata": {"format": "png", "size": 1_234, "width": 1_024, "height": 768},
    "hashValue": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}

FAILED: dict[str, Any] = {
    "requestId": REQUESTED["requestId"],
    "correlationId": REQUESTED["correlationId"],
    "status": "failed",
    "errorCode": "RATE_LIMITED",
    "errorMessage": "the image service answered 429",
    "errorType": "system",
    "isSystemError": True,
    "isUserError": False,
    "retrySuggestion": True,
    "userMessage": "Please try again.",
}

GOOD: dict[str, dict[str, Any]] = {
    "AIImageGenerationRequested": REQUESTED,
    "AIImageGenerationCompleted": COMPLETED,
    "AIImageGenerationFailed": FAILED,
}


def without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    """A copy of `event` that lacks the fields named."""
    return {key: value for key, value in event.items() if key not in names}
