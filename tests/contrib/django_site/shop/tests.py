"""The project's own tests, as `manage.py test` runs them."""

from django.test import TestCase

from resqpy.contrib.django import enqueue_on_commit
from resqpy.contrib.django.testing import clear, drain
from shop.models import Order
from shop.tasks import after, counts, fails, kept, mail, place


class TaskTests(TestCase):
    """Each begins with an empty Redis, and leaves nothing in the database."""

    def setUp(self):
        """Nothing waits."""
        clear()

    def test_a_task_sees_what_the_test_saved_and_the_test_what_it_saves(self):
        """They share the transaction, which is rolled back."""
        Order.objects.create(name="of the test")
        counted = counts.enqueue()
        placed = place.enqueue("of the task")

        self.assertEqual(Order.objects.count(), 1)
        self.assertEqual(len(drain()), 2)
        counted.refresh()
        placed.refresh()
        self.assertEqual((counted.status, counted.return_value), ("SUCCESSFUL", 1))
        self.assertEqual(Order.objects.get(pk=placed.return_value).name, "of the task")

    def test_nothing_is_left_of_the_other_test(self):
        """Neither here nor there."""
        self.assertEqual((Order.objects.count(), len(drain())), (0, 0))

    def test_async_tasks(self):
        """Their queries go to the same transaction."""
        Order.objects.create(name="of the test")
        sent = mail.enqueue("ada")
        drain(raising=True)
        sent.refresh()
        self.assertEqual(sent.return_value[-1], 1)

    def test_tasks_of_resqpy(self):
        """With the verbs for synchronous code."""
        kept.sync.enqueue(n=1)
        [job] = drain(raising=True).jobs
        self.assertEqual(job.result, "1: open")

    def test_what_fails(self):
        """It is raised by choice, and else it has failed."""
        failed = fails.enqueue(x=1)
        with self.assertRaisesRegex(ValueError, "no 1"):
            drain(raising=True)
        failed.refresh()
        self.assertEqual(failed.status, "FAILED")

    def test_on_commit(self):
        """Nothing waits before the commit."""
        with self.captureOnCommitCallbacks() as held:
            after.enqueue("ada")
            enqueue_on_commit(place, "bob")
            self.assertEqual(len(drain()), 0)
        self.assertEqual((len(held), len(drain())), (2, 0))
        with self.captureOnCommitCallbacks(execute=True):
            after.enqueue("ada")
            enqueue_on_commit(place, "bob")
        self.assertEqual(
            [job.task for job in drain().jobs], ["shop.tasks.after", "shop.tasks.place"]
        )
