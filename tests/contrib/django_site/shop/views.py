"""Where nobody looks for tasks."""

from shop.tasks import task


@task
def lost() -> None:
    """It stands in no module `tasks`."""
