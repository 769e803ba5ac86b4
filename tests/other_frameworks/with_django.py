"""A conditional resource in Django: the UPDATE names the version that was judged, so that the database refuses."""

from typing import Any
from uuid import uuid4

from django.conf import settings

settings.configure(
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ALLOWED_HOSTS=["localhost"],
)
import django  # noqa: E402 - Django reads its settings first

django.setup()
import json  # noqa: E402

from django.core.exceptions import BadRequest  # noqa: E402
from django.db import models  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.shortcuts import get_object_or_404  # noqa: E402
from django.urls import path  # noqa: E402
from django.views import View  # noqa: E402

from flask_etag import EntityTag  # noqa: E402
from flask_etag.preconditions import Preconditions, Representation  # noqa: E402


class Note(models.Model):  # type: ignore[misc]
    version = models.CharField(max_length=32)
    body = models.TextField()

    class Meta:
        app_label = "notes"


def judged(request: HttpRequest, etag: EntityTag) -> Any:
    """Return the 304, 412 or 428 that answers a request; nothing where its view is to run."""
    conditions = Preconditions(request.headers.get("If-Match"), request.headers.get("If-None-Match"))
    if request.method not in ("GET", "HEAD") and not conditions.protect:
        return JsonResponse({"reason": "missing"}, status=428)
    verdict = conditions.evaluate(request.method, Representation(etag))
    if verdict == "proceed":
        return None
    if verdict == "not modified":
        return HttpResponse(status=304, headers={"ETag": str(etag)})
    return JsonResponse({"reason": verdict}, status=412, headers={"ETag": str(etag)})


def shown(note: Note) -> Any:
    return JsonResponse({"body": note.body}, headers={"ETag": str(EntityTag(note.version))})


class NoteView(View):  # type: ignore[misc]
    def get(self, request: HttpRequest, note_id: int) -> Any:
        note = get_object_or_404(Note, pk=note_id)
        return judged(request, EntityTag(note.version)) or shown(note)

    def put(self, request: HttpRequest, note_id: int) -> Any:
        note = get_object_or_404(Note, pk=note_id)
        if refusal := judged(request, EntityTag(note.version)):
            return refusal
        try:
            body = json.loads(request.body)["body"]
            body.encode()  # only a text can be; half of a surrogate pair cannot
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadRequest from error
        new = {"version": uuid4().hex, "body": body}
        if not Note.objects.filter(pk=note_id, version=note.version).update(**new):
            return self.put(request, note_id)  # another was first: it is judged again, by what that has left
        return shown(Note(id=note_id, **new))


urlpatterns = [path("notes/<int:note_id>", NoteView.as_view())]
