"""Every setting of AOB, read from the environment by name.

Without DATABASE_URL and friends the embedded services of `aob up` are meant: its supervisor sets them.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

AOB_HOME = Path(os.environ.get("AOB_HOME", ".aob")).resolve()
"""The data directory: blobs, embedded services, logs, the client's credentials."""

AOB_PORT = int(os.environ.get("AOB_PORT", "8800"))
"""The public port."""

AOB_PUBLIC_URL = os.environ.get("AOB_PUBLIC_URL", f"http://127.0.0.1:{AOB_PORT}")
"""Under which users reach the web process; its host and origin are accepted."""

KNOWN_KEYS = frozenset({"", "secret", "changeme", "change-me", "insecure", "django-insecure"})


def _secret_key() -> str:
    """AOB_SECRET_KEY: at least 32 characters, generated for each installation (hazard S22)."""
    key = os.environ.get("AOB_SECRET_KEY", "")
    if key.lower() in KNOWN_KEYS or len(key) < 32:
        raise ImproperlyConfigured(
            "AOB_SECRET_KEY is missing, known or shorter than 32 characters; "
            "`aob up` generates one, or: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    return key


def _database(url: str) -> dict[str, object]:
    """A Django database from DATABASE_URL (postgresql://user:password@host:port/name?host=/socket)."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", parts.hostname or ""),
        "PORT": query.pop("port", str(parts.port or "")),
        # Under ASGI each request has a thread of its own, so connections are kept in a pool, not per thread.
        "OPTIONS": {**query, "pool": {"min_size": 0, "max_size": 8, "max_idle": 60, "timeout": 10}},
        "CONN_HEALTH_CHECKS": True,
    }


SECRET_KEY = _secret_key()
DEBUG = False

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
"""Wake-ups for streams and coordinators; nothing is lost when it is flushed."""

# For what people see of each other while they draw; event streams have their own way and need no layer (hazard P13).
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
}
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", REDIS_URL)
"""Where the doorbells of tasks are sent."""

DATABASES = {"default": _database(os.environ.get("DATABASE_URL", "postgresql:///aob"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

_public = urlsplit(AOB_PUBLIC_URL)
ALLOWED_HOSTS = [
    *(name for name in os.environ.get("AOB_ALLOWED_HOSTS", "").split(",") if name),
    _public.hostname or "127.0.0.1",
    "127.0.0.1",
    "localhost",
    "[::1]",
]
"""AOB_ALLOWED_HOSTS: further host names, comma separated."""

ALLOWED_ORIGINS = frozenset(
    {
        f"{_public.scheme}://{_public.netloc}",
        f"http://127.0.0.1:{AOB_PORT}",
        f"http://localhost:{AOB_PORT}",
    }
)
"""Exact origins that may open WebSockets (hazard S20)."""

CSRF_TRUSTED_ORIGINS = sorted(ALLOWED_ORIGINS)
CSRF_FAILURE_VIEW = "aob_web.ui.pages.errors.forbidden"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "aob_web.accounts",
    "aob_web.learning",
    "workflows",
    "runs",
    "approvals",
]

if os.environ.get("AOB_PROCESS", "web") == "web":
    # Workers and coordinators serve no pages, so they do without what only pages need.
    INSTALLED_APPS = [
        "daphne",
        "aob_web.console.apps.ConsoleConfig",
        "aob_web.console.apps.ConsoleSiteConfig",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
        "django_htmx",
        "aob_web.ui",
        *INSTALLED_APPS,
    ]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "aob_web.middleware.SecurityHeaders",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "aob_web.urls"
ASGI_APPLICATION = "aob_web.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "aob_web.ui.shell.shell",
            ],
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/sign-in/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/sign-in/"

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _public.scheme == "https"
SESSION_COOKIE_NAME = f"aob_session_{AOB_PORT}"
CSRF_COOKIE_NAME = f"aob_csrf_{AOB_PORT}"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
FORMAT_MODULE_PATH = "aob_web.formats"
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "frontend" / "dist"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

DATA_UPLOAD_MAX_MEMORY_SIZE = int(os.environ.get("AOB_MAX_REQUEST_BYTES", str(16 * 1024 * 1024)))
"""AOB_MAX_REQUEST_BYTES: the largest body of a request other than a blob upload."""

AOB_MAX_FORM_BYTES = int(os.environ.get("AOB_MAX_FORM_BYTES", str(1024 * 1024)))
"""The largest body of a request from somebody who is not signed in and sends no API token."""

AOB_MAX_BLOB_BYTES = int(os.environ.get("AOB_MAX_BLOB_BYTES", str(1024**3)))
"""The largest blob."""

AOB_MAX_VALUE_BYTES = int(os.environ.get("AOB_MAX_VALUE_BYTES", str(4 * 1024 * 1024)))
"""The largest JSON value: inputs, the output of a node."""

AOB_MAX_ITEMS = int(os.environ.get("AOB_MAX_ITEMS", "100000"))
"""The most items of one `map`."""

AOB_AGENT_DAILY_TOKENS = int(os.environ["AOB_AGENT_DAILY_TOKENS"]) if os.environ.get("AOB_AGENT_DAILY_TOKENS") else None
"""What all agents together may use in a day (UTC); unlimited where it is not set."""

AOB_AGENT_DAILY_COST = float(os.environ["AOB_AGENT_DAILY_COST"]) if os.environ.get("AOB_AGENT_DAILY_COST") else None
"""The same in US dollars."""

AOB_MAX_BATCH = int(os.environ.get("AOB_MAX_BATCH", "1000"))
"""The most runs in one `runs/batch` request."""

AOB_MAX_BACKLOG = int(os.environ.get("AOB_MAX_BACKLOG", "50000"))
"""While more runs or tasks than this wait to be taken up, new runs are refused with 429."""

AOB_WEB_SOCKET = os.environ.get("AOB_WEB_SOCKET", str(AOB_HOME / "run" / "web.sock"))
"""The Unix socket between the process at the public port and the web process behind it."""

AOB_STALL_SECONDS = float(os.environ.get("AOB_STALL_SECONDS", "60"))
"""A client that takes nothing of an answer or a stream for so long is cut off."""

AOB_MAX_PROCESS_MB = int(os.environ.get("AOB_MAX_PROCESS_MB", "256"))
"""A process that has grown beyond so many MiB hands over to a successor; 0: however large. See aob_web/lifesign.py."""

AOB_RETENTION_DAYS = float(os.environ.get("AOB_RETENTION_DAYS", "0"))
"""Ended runs are deleted with their events after so many days; 0 keeps them for ever."""

AOB_WORKER_SLOTS = int(os.environ.get("AOB_WORKER_SLOTS", "64"))
"""How many tasks one worker process executes at a time."""

AOB_FIDELITY = os.environ.get("AOB_FIDELITY", "fast")
"""`full` also records when a worker starts an attempt, by one more commit; `fast` leaves that out. Both are durable."""

if AOB_FIDELITY not in ("fast", "full"):
    raise ImproperlyConfigured(f"AOB_FIDELITY is {AOB_FIDELITY!r}; use fast or full.")

AOB_LEASE_SECONDS = float(os.environ.get("AOB_LEASE_SECONDS", "30"))
"""A task whose worker is silent for so long gets another attempt."""

AOB_STORAGE_URL = os.environ.get("AOB_STORAGE_URL", "")
"""Where blobs above 64 KiB are kept: `s3://bucket/prefix?endpoint_url=…`; files under AOB_HOME by default."""


def _storage(url: str) -> dict[str, object]:
    if not url:
        return {
            "BACKEND": "runs.storage.DurableFileStorage",
            "OPTIONS": {"location": str(AOB_HOME / "blobs")},
        }
    parts = urlsplit(url)
    options: dict[str, object] = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": parts.netloc,
            "location": parts.path.strip("/"),
            "file_overwrite": True,
            **options,
        },
    }


AOB_EMAIL_URL = os.environ.get("AOB_EMAIL_URL", "console:")
"""`smtp://user:password@host:port?tls=starttls|ssl`; `console:` writes mails into the sender's log."""

AOB_EMAIL_FROM = os.environ.get("AOB_EMAIL_FROM", "")
"""Who mails are from where nothing else is said: `aob@example.com` or `AOB <aob@example.com>`."""

AOB_EMAIL_MAX_BYTES = int(os.environ.get("AOB_EMAIL_MAX_BYTES", str(10 * 1024 * 1024)))
"""The most that the attachments of one mail have together."""

AOB_EMAIL_SECONDS = float(os.environ.get("AOB_EMAIL_SECONDS", "20"))
"""So long the mail server may take for each of its answers."""

AOB_TICKET_MAIL_ALL = os.environ.get("AOB_TICKET_MAIL_ALL", "") == "1"
"""1: a ticket that anybody may decide is mailed to all users; such a ticket is mailed to nobody otherwise."""

AOB_TICKET_MAILS_PER_HOUR = int(os.environ.get("AOB_TICKET_MAILS_PER_HOUR", "60"))
"""So many mails about tickets a user gets within an hour; further ones wait for at most a day."""

AOB_LINK_DAYS = float(os.environ.get("AOB_LINK_DAYS", "7"))
"""So long a link in a mail about a ticket decides it at most; not beyond the ticket's due time."""


def _email(url: str) -> dict[str, object]:
    """Django's EMAIL_ settings of a URL."""
    parts = urlsplit(url)
    if parts.scheme == "console":
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    tls = parse_qs(parts.query).get("tls", ["none"])[0]
    if parts.scheme != "smtp" or not parts.hostname or tls not in ("none", "starttls", "ssl"):
        raise ImproperlyConfigured(
            "AOB_EMAIL_URL is neither `console:` nor `smtp://user:password@host:port?tls=starttls|ssl`."
        )
    return {
        "EMAIL_BACKEND": "runs.mail.SmtpBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or {"none": 25, "starttls": 587, "ssl": 465}[tls],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": tls == "starttls",
        "EMAIL_USE_SSL": tls == "ssl",
    }


globals().update(_email(AOB_EMAIL_URL))
EMAIL_TIMEOUT = AOB_EMAIL_SECONDS
DEFAULT_FROM_EMAIL = AOB_EMAIL_FROM or f"AOB <aob@{_public.hostname or 'localhost'}>"

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "blobs": _storage(AOB_STORAGE_URL),
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("AOB_LOG_LEVEL", "INFO")},
    "loggers": {
        "django.channels.server": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "mcp": {"level": "WARNING"},
    },
}
