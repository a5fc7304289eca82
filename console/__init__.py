"""The web page: static files that `app.api.console` serves. No build step and no request to anybody else."""
