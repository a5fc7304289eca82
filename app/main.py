"""The gateway's process, `python -m app.main`.

Every process that reads a document runs this file first (`anyio.to_process`), so what the gateway needs is imported in
`main` alone.
"""

import sys

from app.processes import exit_code_of


def main() -> int:
    """Run the gateway; returns the exit code."""
    import uvicorn  # noqa: PLC0415

    from app.api.app import create_app  # noqa: PLC0415
    from app.logs import set_up_logs  # noqa: PLC0415
    from app.secret_files import admin_key, engine_key  # noqa: PLC0415
    from app.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    for key in (admin_key, engine_key):
        key(settings)  # one that cannot be had ends the process here, in one sentence
    set_up_logs(settings.log_level, part="gateway")
    app = create_app(settings)
    uvicorn.run(
        app, host=settings.host, port=settings.port, log_config=None, access_log=False, timeout_graceful_shutdown=5
    )
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
