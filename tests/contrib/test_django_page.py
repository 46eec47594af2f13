"""The page on Django: its files make a project of Django's, and its examples run there one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contrib.test_django import Site
from tests.docs.pages import DOCS, blocks

pytest.importorskip("django", reason="Django is not installed")

PAGE = DOCS / "how-to" / "django.md"
MODELS = """
from django.db import models

class Order(models.Model):
    name = models.CharField(max_length=20, default="ada")
"""
# What a project of Django's has before.
SETTINGS = """
import os
from pathlib import Path

BASE_DIR = Path(__file__).parents[1]
SECRET_KEY = "secret"
USE_TZ = True
INSTALLED_APPS = ["shop", "django_tasks"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SITE_DATABASE"]}}
"""
HEAD = """
import subprocess, sys
sys.path[:0] = ["."]
import django
django.setup()
from shop.models import Order
from shop.tasks import send_receipt, send_reports

order = Order.objects.create()
"""
# Between the examples, as if some time had passed.
WORK = 'subprocess.run([sys.executable, "manage.py", "resqpy", "worker", "--burst"], check=True)\n'


def test_the_examples_of_the_page(tmp_path: Path, redis_url: str) -> None:
    """What the second one prints is what the page says that a result has."""
    files = {"shop/models.py": MODELS, "shop/__init__.py": "", "config/__init__.py": ""}
    files["manage.py"] = (Path(__file__).parent / "django_site" / "manage.py").read_text()
    files["config/settings.py"] = SETTINGS
    script = HEAD
    for block in blocks(PAGE):
        assert block.kind in {"python", "sh"}, block.place
        first = block.code.partition("\n")[0]
        if first == "# settings.py":
            files["config/settings.py"] += block.code.replace("redis://localhost:6379/0", redis_url)
        elif block.file is not None:
            code = block.code.replace(
                "from django.tasks import task", "from django_tasks import task"
            )
            files[block.file] = files.get(block.file, "") + code
        elif block.kind == "python":
            script += block.code + WORK
        else:
            assert block.code == "python manage.py resqpy worker --scheduler\n"
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    site = Site(tmp_path, redis_url)
    site.manage("migrate", "--run-syncdb", "--verbosity", "0")

    done = site.run("-c", script, environ={"DJANGO_SETTINGS_MODULE": "config.settings"})

    assert done.stdout == "SUCCESSFUL sent to ada []\n"
    settings = {"DJANGO_SETTINGS_MODULE": "config.test_settings"}
    assert "Ran 1 test" in site.manage("test", "--verbosity", "0", environ=settings).stderr
