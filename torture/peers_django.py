"""Django's counter: its model, its view under ``condition``, and its URL."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from django.db import connection, models
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import condition

from torture.peers import ROWS, SLOW


class Counter(models.Model):
    """A counter."""

    number: Any = models.IntegerField()

    class Meta:
        """Where the model lives."""

        app_label = "torture"


def etag(_request: HttpRequest, counter_id: int) -> str:
    number = Counter.objects.get(pk=counter_id).number
    return f'"{hashlib.sha256(str(number).encode()).hexdigest()}"'


@csrf_exempt
@condition(etag_func=etag)
def counter(request: HttpRequest, counter_id: int) -> JsonResponse:
    row = Counter.objects.get(pk=counter_id)
    if request.method == "PUT":
        number = json.loads(request.body)["number"]
        time.sleep(SLOW)
        row.number = number
        row.save()
    return JsonResponse({"number": row.number})


urlpatterns = [path("counters/<int:counter_id>", counter)]


def create() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS torture_counter")
    with connection.schema_editor() as editor:
        editor.create_model(Counter)
    Counter.objects.bulk_create(Counter(pk=row, number=0) for row in range(1, ROWS + 1))
    connection.close()
