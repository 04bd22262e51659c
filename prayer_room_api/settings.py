"""Settings of the prayer room, all from the environment. In production ``SECRET_KEY`` alone is required."""

from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from . import logs
from .environment import Environment

env = Environment()

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"
VAR_DIR.mkdir(exist_ok=True)

DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", "only-for-debugging" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "Set the environment variable SECRET_KEY to a long random string, or DEBUG=1 for development."
    )

# A public host has to be named; the loopback names are of no use to a forged Host header.
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
SITE_URL = env.str("SITE_URL", "http://localhost:8000").rstrip("/")
ROOT_URLCONF = "prayer_room_api.urls"
WSGI_APPLICATION = "prayer_room_api.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    # Ahead of staticfiles, so that runserver serves static files as production does.
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_celery_beat",
    "django_prodserver",
    "cutover",
    "prayer_room_api",
]

MIDDLEWARE = [
    "prayer_room_api.probes.ProbeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
TIME_ZONE = env.zone("TIME_ZONE", "UTC")
USE_TZ = True

# --- Data -----------------------------------------------------------------------------------------

REDIS_URL = env.str("REDIS_URL", "redis://127.0.0.1:6379/0")

DATABASES = {"default": env.database("DATABASE_URL", f"sqlite:///{VAR_DIR / 'db.sqlite3'}")}
DATABASES["default"].update(CONN_MAX_AGE=env.int("CONN_MAX_AGE", 60), CONN_HEALTH_CHECKS=True)
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE waits for the write lock at BEGIN; a transaction that asks for it later is refused at once.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;",
    }
else:
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)

CACHES = {
    "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL},
    # Counts requests. It fails open: see prayer_room_api.api.CreateThrottle.
    "throttle": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "throttle",
        "OPTIONS": {"IGNORE_EXCEPTIONS": True, "SOCKET_CONNECT_TIMEOUT": 0.5, "SOCKET_TIMEOUT": 0.5},
    },
}

# --- HTTP -----------------------------------------------------------------------------------------

# How many proxies in front of this process are ours, to be believed about the client's address and scheme.
PROXY_COUNT = env.int("PROXY_COUNT", 1)
if PROXY_COUNT:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", not DEBUG)
SESSION_COOKIE_SECURE = env.bool("SESSION_COOKIE_SECURE", SECURE_SSL_REDIRECT)
CSRF_COOKIE_SECURE = env.bool("CSRF_COOKIE_SECURE", SECURE_SSL_REDIRECT)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 30 * 24 * 3600 if SECURE_SSL_REDIRECT else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", False)
SECURE_HSTS_PRELOAD = env.bool("SECURE_HSTS_PRELOAD", False)
# Subdomains and preloading bind hosts that this site does not know of: whoever owns the domain turns them on.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", str(BASE_DIR / "staticfiles")))
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "prayer_room_api.storage.StaticStorage"},
}
# Without a collectstatic the files are served from where the apps have them.
WHITENOISE_USE_FINDERS = not (STATIC_ROOT / "staticfiles.json").exists()

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_THROTTLE_RATES": {"create": env.str("THROTTLE_CREATE", "100/second")},
    "NUM_PROXIES": PROXY_COUNT,
}

# --- E-mail and logs ------------------------------------------------------------------------------

vars().update(env.email("EMAIL_URL", "consolemail://" if DEBUG else "smtp://localhost:25"))
if EMAIL_FILE_PATH := vars()["EMAIL_FILE_PATH"]:
    # django-environ drops the slash that makes filemail:///var/mail absolute.
    EMAIL_FILE_PATH = "/" + EMAIL_FILE_PATH.lstrip("/")
# A silent mail server must not hold a worker for ever.
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "Prayer room <noreply@localhost>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL

LOGGING = logs.configure(
    level=env.level("LOG_LEVEL", "INFO"),
    fmt=env.str("LOG_FORMAT", "console" if DEBUG else "json"),
)

# --- Celery ---------------------------------------------------------------------------------------

CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", REDIS_URL)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
if CELERY_BROKER_URL.startswith(("redis", "sentinel")):
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "socket_connect_timeout": 5,
        "socket_timeout": 30,
        "socket_keepalive": True,
        "health_check_interval": 25,
    }
elif CELERY_BROKER_URL.startswith(("amqp", "pyamqp")):
    # A message counts as handed over once the broker says so, not once it is in a socket's buffer.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}
CELERY_IMPORTS = env.list("CELERY_IMPORTS", default=[])
CELERY_TIMEZONE = TIME_ZONE
CELERY_TASK_IGNORE_RESULT = True
# With an expiry, beat adds a task of its own, celery.backend_cleanup, to the code schedule and the rows.
CELERY_RESULT_EXPIRES = None
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = env.str("CELERY_BEAT_SCHEDULER", "cutover.schedulers:DatabaseScheduler")
CELERY_BEAT_SCHEDULE_FILENAME = env.str("CELERY_BEAT_SCHEDULE_FILENAME", str(VAR_DIR / "celerybeat-schedule"))

# --- Processes ------------------------------------------------------------------------------------

# The release label is cutover's own to find: CUTOVER_RELEASE, or what the platform sets.
CUTOVER = {
    "APP": "prayer_room_api.celery.app",
    "CODE_SCHEDULE": env.str("CODE_SCHEDULE", "prayer_room_api.schedule.beat_schedule"),
}

PORT = env.port("PORT", 8000)

PRODUCTION_PROCESSES = {
    "web": {
        "BACKEND": "cutover.backends.Gunicorn",
        "ARGS": {
            "bind": env.str("WEB_BIND", f"0.0.0.0:{PORT}"),
            "workers": env.str("WEB_CONCURRENCY", "2"),
            "threads": env.str("WEB_THREADS", "4"),
            "keep-alive": env.str("WEB_KEEP_ALIVE", "100"),
            "access-logfile": "-",
            "logger-class": "prayer_room_api.weblog.GunicornLogger",
        },
    },
    "worker": {
        "BACKEND": "cutover.backends.CeleryWorker",
        "APP": "prayer_room_api.celery.app",
        # Celery's own default is a process for each of the node's processors, whatever the container may use.
        "ARGS": {"loglevel": "info", "concurrency": env.int("WORKER_CONCURRENCY", 2)},
    },
    "beat": {
        "BACKEND": "cutover.backends.DatabaseBeat",
        "APP": "prayer_room_api.celery.app",
        "ARGS": {"loglevel": "info"},
    },
    "legacy-beat": {
        "BACKEND": "cutover.backends.CodeBeat",
        "APP": "prayer_room_api.celery.app",
        "ARGS": {"loglevel": "info"},
    },
}
