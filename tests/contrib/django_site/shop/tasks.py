"""Tasks of Django's, and one of resqpy's."""

import os

from django.db import connection

import resqpy
from shop.models import Order

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task


@task
def place(name):
    """Place an order."""
    return Order.objects.create(name=name).pk


@task(queue_name="mail", takes_context=True)
async def mail(context, to, times=1):
    """Send mails."""
    return [to] * times + [context.attempt, context.task_result.id, await Order.objects.acount()]


@task(backend="after")
def after(name):
    """It is enqueued after the commit."""


@task
def counts():
    """Count the orders."""
    return Order.objects.count()


@task
def loses():
    """The server ends the connection, which the thread keeps for the next job."""
    Order.objects.count()
    connection.connection.close()


@task
def keeps():
    """The connection that the thread has kept."""
    Order.objects.count()
    return id(connection.connection)


@task
def fails(x):
    """It can't."""
    raise ValueError(f"no {x}")


@task
def dies():
    """It takes its worker along."""
    os._exit(7)


@resqpy.task(queue="mail")
def kept(n: int) -> str:
    """Whether the connection of the job before is still open in this thread; then one more is opened."""
    state = "closed" if connection.connection is None else "open"
    Order.objects.count()
    return f"{n}: {state}"
