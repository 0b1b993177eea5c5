"""Bodies of requests that may not be larger than a limit, whatever their header says."""

from typing import Any

from nemo_vtb.inference.serving.replies import error


class LimitedBodies:
    """Answers 413 where a body is too large, before it is held in memory.

    Args:
        app: The ASGI application.
        most_bytes: Of a body.
    """

    def __init__(self, app: Any, most_bytes: int) -> None:
        self._app, self._most = app, most_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serves one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not length.isdigit() or int(length) > self._most:
            await self._refuse(scope, receive, send)
            return
        taken, begun = 0, False

        async def counted() -> Any:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._most:
                raise _TooLargeError
            return message

        async def noted(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except _TooLargeError:
            if not begun:
                await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.responses import JSONResponse

        message = f"the request is too large: at most {self._most / 2**20:.0f} MB are taken"
        await JSONResponse(error(message, code="413"), 413, {"Connection": "close"})(scope, receive, send)


class _TooLargeError(Exception):
    pass
