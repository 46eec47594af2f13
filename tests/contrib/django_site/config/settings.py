"""A project of Django's, whose settings stand in a package `config`, as often."""

import os
from pathlib import Path

import django

BASE_DIR = Path(__file__).parents[1]
SECRET_KEY = "secret"
USE_TZ = True
INSTALLED_APPS = ["shop", "resqpy.contrib.django"]
if django.VERSION < (6, 0):
    INSTALLED_APPS.append("django_tasks")
DATABASES = {
    "default": {
        "ENGINE": "checked" if "SITE_KEEPS" in os.environ else "django.db.backends.sqlite3",
        "NAME": os.environ["SITE_DATABASE"],
        "CONN_MAX_AGE": None if "SITE_KEEPS" in os.environ else 0,
        "CONN_HEALTH_CHECKS": True,
    }
}
BACKEND = os.environ.get("SITE_BACKEND", "resqpy.contrib.django.ResqpyBackend")
TASKS = {
    "default": {
        "BACKEND": BACKEND,
        "QUEUES": ["default", "mail", *os.environ.get("SITE_QUEUES", "").split()],
    },
    "after": {
        "BACKEND": BACKEND,
        "OPTIONS": {"enqueue_on_commit": True},
    },
}
RESQPY = {"redis.url": os.environ["SITE_REDIS"], "tasks.max_task_processors": 1}
