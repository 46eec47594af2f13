"""A table."""

from django.db import models


class Order(models.Model):
    """An order."""

    name = models.CharField(max_length=20)
