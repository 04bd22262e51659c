"""Looks at the admin's page of a site, in a process of that site: ``python -m tests.faults.pages FILE``.

Prints a JSON object of address and HTML: everything at a glance, every entry with all its slots, and the lives of the
slots that the file names, a JSON list of pairs of entry and instant.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import django
from django.test import Client
from django.test.utils import setup_test_environment

SITE = "/admin/cutover/overview/"


def look(slots: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Each page with its address."""
    from django.contrib.auth.models import User

    client = Client()
    client.force_login(User.objects.get_or_create(username="witness", is_staff=True, is_superuser=True)[0])
    first = client.get(SITE, {"span": "1h"}, secure=True)
    yield SITE, first.content.decode()
    for entry in first.context["entries"]:
        query = entry.query
        while query:
            page = client.get(f"{SITE}entry/?{query}", secure=True)
            yield f"{SITE}entry/?{query}", page.content.decode()
            query = page.context["older"]
    for entry, due in slots:
        query = urlencode({"entry": entry, "due": due})
        yield f"{SITE}slot/?{query}", client.get(f"{SITE}slot/?{query}", secure=True).content.decode()


if __name__ == "__main__":
    django.setup()
    setup_test_environment()
    print(json.dumps(dict(look(json.loads(Path(sys.argv[1]).read_text())))))
