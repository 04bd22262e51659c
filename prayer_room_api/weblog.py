"""gunicorn's share of the log."""

import logging
from typing import Any

import structlog
from gunicorn.glogging import Logger


class GunicornLogger(Logger):
    """gunicorn's records in the same log; one ``http.request`` event for each request, without its query."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logger.handlers.clear()
            logger.propagate = True
        self.requests = structlog.get_logger(self.access_log.name)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        if not self.access_log.isEnabledFor(logging.INFO):
            return
        self.requests.info(
            "http.request",
            method=environ.get("REQUEST_METHOD"),
            path=environ.get("PATH_INFO"),
            status=int(resp.status_code),
            elapsed_ms=round(request_time.total_seconds() * 1000, 1),
        )
