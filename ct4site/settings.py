"""Django settings of CT4. Nothing here starts a server or opens a connection."""

from pathlib import Path

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from ct4site import configuration

BASE_DIR = Path(__file__).resolve().parent.parent
CONFIGURATION = configuration.read()
PRODUCTION = CONFIGURATION["CT4_ENV"] == "production"
CT4_HOME = Path(CONFIGURATION["CT4_HOME"] or BASE_DIR / ".ct4").expanduser().resolve()

DEBUG = CONFIGURATION["CT4_DEBUG"]
SECRET_KEY = CONFIGURATION["CT4_SECRET_KEY"] or configuration.local_secret_key(CT4_HOME)
ALLOWED_HOSTS = CONFIGURATION["CT4_ALLOWED_HOSTS"]
CSRF_TRUSTED_ORIGINS = CONFIGURATION["CT4_TRUSTED_ORIGINS"]

INSTALLED_APPS = [
    "ct4site",
    "identity",
    "orphans",
    "attribution",
    "recovery",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_q",
    "django_tables2",
    "django_filters",
    "django_htmx",
    "csp",
    "axes",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "ct4site.middleware.ChosenLanguageMiddleware",
    "ct4site.middleware.NoNulMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "ct4site.middleware.PrivacyMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "ct4site.urls"
WSGI_APPLICATION = "ct4site.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- database -----------------------------------------------------------------------------------

# Plain table names, resolved over these schemas (docs/adr/0002); SQL files are schema-qualified.
SCHEMAS = ("public", "canon", "observational", "ops")
# temp_buffers: the working tables of a job stay in memory. jit: statements are many and short or set-based and full of
# expressions; compiling them costs more than it saves on every server, whatever its default.
CONNECTION_SETTINGS = (
    f"-c search_path={','.join(SCHEMAS)} -c timezone=UTC -c statement_timeout=60s -c lock_timeout=5s"
    " -c idle_in_transaction_session_timeout=300s -c temp_buffers=128MB -c jit=off"
)


def _database() -> dict:
    url = CONFIGURATION["DATABASE_URL"]
    if not url:
        return {"ENGINE": "ct4site.embedded", "NAME": "ct4", "USER": "ct4"}
    try:
        entry = environ.Env.db_url_config(url)
    except Exception:
        entry = {}
    if "postgresql" not in entry.get("ENGINE", "") or not entry.get("NAME"):
        raise ImproperlyConfigured(
            "CT4 cannot start. DATABASE_URL must read postgres://user:password@host:port/name; "
            "special characters in the password are percent-encoded."
        )
    return {**entry, "ENGINE": "django.db.backends.postgresql"}


DATABASES = {
    "default": {
        **_database(),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"options": CONNECTION_SETTINGS, "application_name": "ct4", "connect_timeout": 10},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- queue: one dotted path and a run id (architecture.md, reliability.md 3) ----------------------

Q_CLUSTER = {
    "name": "ct4",
    "label": _("Queue"),
    "orm": "default",
    "workers": CONFIGURATION["CT4_WORKERS"],
    "bulk": 1,
    "queue_limit": 1,
    "timeout": 3600,
    "retry": 2 * 3600 + 60,
    "max_attempts": 5,
    "ack_failures": True,
    "catch_up": False,
    "save_limit": 500,
    "poll": 0.5,
}

# --- people, languages, time ----------------------------------------------------------------------

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
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
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 1
AXES_LOCKOUT_TEMPLATE = "429.html"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

LANGUAGE_CODE = "es"
LANGUAGES = [("es", "Español"), ("en", "English")]
LOCALE_PATHS = [BASE_DIR / "ct4site" / "locale"]
TIME_ZONE = "America/Lima"
USE_TZ = True

STATIC_URL = "static/"
# Elsewhere files are served from where they are written; WhiteNoise warns of a folder that does not exist.
STATIC_ROOT = BASE_DIR / "staticfiles" if PRODUCTION else None
WHITENOISE_USE_FINDERS = not PRODUCTION
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "whitenoise.storage.CompressedManifestStaticFilesStorage"
            if PRODUCTION
            else "django.contrib.staticfiles.storage.StaticFilesStorage"
        )
    },
}

# --- headers --------------------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_SAMESITE = "Lax"
if PRODUCTION:
    SECURE_SSL_REDIRECT = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    LANGUAGE_COOKIE_SECURE = True

# --- logs -----------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "class": "ct4site.privacy.DiscreetFormatter",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"ct4": {"level": "INFO"}},
}

# --- rules (policy settings of docs/configuration.md) ----------------------------------------------

PARK_ID_OBJETIVO = CONFIGURATION["CT4_PARK_ID_OBJETIVO"]
NAME_SIMILARITY_THRESHOLD = CONFIGURATION["CT4_NAME_SIMILARITY_THRESHOLD"]
NAME_SIMILARITY_GAP = CONFIGURATION["CT4_NAME_SIMILARITY_GAP"]
R3_DAYS_BEFORE = CONFIGURATION["CT4_R3_DAYS_BEFORE"]
R3_DAYS_AFTER = CONFIGURATION["CT4_R3_DAYS_AFTER"]
R3C_ENABLED = CONFIGURATION["CT4_R3C_ENABLED"]
NAME_CONTRADICTION_BLOCKS = CONFIGURATION["CT4_NAME_CONTRADICTION_BLOCKS"]
SHARED_KEY_LIMIT = CONFIGURATION["CT4_SHARED_KEY_LIMIT"]
PERSON_SOURCE_LIMIT = CONFIGURATION["CT4_PERSON_SOURCE_LIMIT"]
LEAD_SYSTEM_START_DATE = CONFIGURATION["CT4_LEAD_SYSTEM_START_DATE"]
REPORTS_ROOT = Path(CONFIGURATION["CT4_REPORTS_ROOT"] or CT4_HOME / "reports").expanduser().resolve()
CONFLICT_WINDOW_DAYS = CONFIGURATION["CT4_CONFLICT_WINDOW_DAYS"]
LEDGER_CONFLICT_BEATS_FLEET = CONFIGURATION["CT4_LEDGER_CONFLICT_BEATS_FLEET"]
CHUNK_SIZE = CONFIGURATION["CT4_CHUNK_SIZE"]
APPLY_CONNECTIONS = CONFIGURATION["CT4_APPLY_CONNECTIONS"]
RUN_LEASE_SECONDS = CONFIGURATION["CT4_RUN_LEASE_SECONDS"]
REVIEW_DUE_DAYS = CONFIGURATION["CT4_REVIEW_DUE_DAYS"]
REVIEW_CASES_PER_DAY = CONFIGURATION["CT4_REVIEW_CASES_PER_DAY"]
REVIEW_LEASE_SECONDS = CONFIGURATION["CT4_REVIEW_LEASE_SECONDS"]
REVIEW_LEASES_PER_USER = CONFIGURATION["CT4_REVIEW_LEASES_PER_USER"]
REVIEW_BULK_LIMIT = CONFIGURATION["CT4_REVIEW_BULK_LIMIT"]
