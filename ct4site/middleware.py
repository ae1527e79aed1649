"""Middleware of the site."""

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.utils import translation

from ct4site import privacy


class ChosenLanguageMiddleware:
    """Spanish unless the person chose otherwise with the language switch.

    Django's LocaleMiddleware lets the browser's own language win; operators in Lima with an
    English browser would then not see the default language.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        chosen = request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME, "")
        language = chosen if chosen in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE
        with translation.override(language):
            request.LANGUAGE_CODE = language
            response = self.get_response(request)
            response.headers.setdefault("Content-Language", language)
            response.headers["Vary"] = ", ".join(filter(None, [response.headers.get("Vary"), "Cookie"]))
            return response


class NoNulMiddleware:
    """Answer 400 to an address with a NUL character, which PostgreSQL takes in no text (reliability.md F25)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        query = request.META.get("QUERY_STRING", "")
        if "\x00" in request.path or "\x00" in query or "%00" in query:
            raise BadRequest("The address holds a NUL character.")
        return self.get_response(request)


class PrivacyMiddleware:
    """Make each answer for whoever asks: personal data are shown as that person may see them (``ct4site.privacy``)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with privacy.page_for(request.user):
            return self.get_response(request)
