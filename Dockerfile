# One image for web, worker, beat and migrations: the command says which.
FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY cutover ./cutover
RUN pip install '.[host,postgres]' -c constraints.txt

FROM python:3.12-slim
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --uid 10001 --no-create-home --home-dir /app app
WORKDIR /app
COPY --from=build /venv /venv
COPY manage.py ./
COPY prayer_room_api ./prayer_room_api
RUN mkdir var staticfiles \
    && SECRET_KEY=only-for-the-build python manage.py collectstatic --noinput \
    && chown -R app var
USER 10001
# gunicorn finishes its requests, a worker its tasks, a beat its turn; each ends by itself.
STOPSIGNAL SIGTERM
# No EXPOSE: for a port that is named Dokku opens that very port, and not 80 and 443.
# exec form: the process itself gets the signal, not a shell in front of it
CMD ["python", "manage.py", "prodserver", "web"]
