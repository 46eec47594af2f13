"""Which commands the tour of the command line takes, in which order: headings, and commands."""

from __future__ import annotations

HEAD = """# A tour of the command line

What every command prints, in the folder of the sample project, on a Redis on which real Node programs work
(node-resque 9.7: a MultiWorker, a scheduler, the plugins' locks), beside what real Ruby programs left there
(resque 3.0, resque-scheduler 5.0: their bytes were recorded). No Python worker has seen it before the last
part. All options: [the command line](cli.md).
"""

STEPS: tuple[str | tuple[str, ...], ...] = (
    "The whole",
    (
        "info", "info --json", "info --prometheus", "top --rounds 1 --interval 100ms", "doctor", "doctor --json",
        "doctor --jobs",
        "healthcheck", "healthcheck --worker --scheduler --max-age 60", "stats", "stats --every --json",
        "leader", "leader --json", "leave --help", "leave --anyway --dry-run",
    ),
    "Queues and jobs",
    (
        "queues --waiting", "queues list --match 'a*' --json", "jobs reports",
        "jobs reports --limit 3", "jobs alpha --class Boom --limit 2 --offset 1 --json",
        "jobs list reports --args [1]", "jobs reports --class Nobody", "jobs report",
        "jobs move reports slow --class echo --limit 2 --dry-run",
        "jobs move reports slow --class echo --args [1] --yes", "jobs slow",
        "jobs remove reports --class noop --dry-run", "jobs remove reports --class noop",
        "jobs remove slow --class echo --args [1] --yes",
        "queues pause reports --for 1h --reason 'a deploy' --by ann",
        "queues pause bulk --new --by ann", "queues resume bulk",
        "limits set reports 2", "limits", "limits remove reports", "limits set bulk 1 --new", "limits remove bulk",
        "limits set echo 3 --task --new", "limits", "limits remove echo --task", "limits put-back",
        "limits set import_all 10/1m --task --new", "limits shut import_all 30s", "limits open import_all",
        "limits remove import_all --task", "limits put-back reports", "limits set reports 3 --queue",
        "limits remove reports --queue",
        "migrate echo --canary 5% --to ruby --queue reports",
        "migrate echo --canary 5% --to ruby --queue reports --over 50 --max-errors 2% --max-time 2s --anyway",
        "migrate status", "migrate echo --shadow 20% --anyway",
        "migrate echo --all --anyway --json", "migrate echo --back", "migrate echo --remove",
        "queues --match reports", "queues resume reports",
        "queues delete cronq --dry-run", "queues delete cronq --yes --json",
    ),
    "Failed jobs",
    (
        "failed groups", "failed groups --class Boom --exception Error --queue alpha --limit 1 --json",
        "failed --limit 8",
        "failed list --queue billing --oldest --limit 2",
        "failed list --class fail --exception Error --json", "failed show {id}",
        "failed retry {id} --dry-run", "failed retry {id} --to-queue slow",
        "failed retry --all --dry-run", "failed retry --all --rate 2 --retried --dry-run",
        "failed retry --exception NameError --queue alpha --dry-run",
        "failed retry --class Boom --dry-run", "failed retry --class Boom --yes", "failed remove --all",
        "failed remove --class KillMe --dry-run",
        "failed remove --exception RangeError --queue billing --dry-run",
        "failed remove --exception RangeError --queue billing --yes --json", "failed show 0000000000",
        "failed remove --older-than 30d --dry-run", "failed remove --retried --dry-run",
        "failed retry --all --watch 30s --dry-run",
    ),
    "Workers",
    (
        "workers", "workers --working --queue mail --json", "workers cancel {worker}",
        "workers clean --older-than 1h --spare-live --dry-run", "workers clean recorded-host:4003 --yes",
        "workers clean nobody:1 --yes",
        "process", "process list", "process log-level --help", "process ping --help",
        "process quiet --help", "process scale --help",
        "process stacks --help", "process stop --help",
    ),
    "Delayed and periodic",
    (
        "delayed", "delayed list --class echo --queue reports --limit 1 --json", "delayed --overdue",
        "delayed run --class echo --queue reports --limit 1 --dry-run",
        "delayed run --at 2099-01-01T01:00:00Z --args '[{\"to\": \"bob\"}]' --dry-run",
        "delayed remove --at 2099-01-01T01:00:00Z --dry-run", "delayed remove --at 2099-01-01T01:00:00Z --yes",
        "delayed remove --class echo --queue reports --args '[\"in 2099\"]' --yes",
        "schedule", "schedule fires --from 2030-03-31T00:00Z --to 2030-03-31T00:00:02Z --limit 3",
        "schedule pause sayHello", "schedule list --json", "schedule resume sayHello",
        "schedule trigger sayHello", "schedule history sayHello", "schedule history --help",
        "schedule add nightly sendWelcomeEmail to=ada@example.com --cron @daily --dry-run",
        "schedule add nightly sendWelcomeMail --every 1h", "schedule add --help", "schedule change --help",
        "schedule remove nightly --dry-run", "schedule import --help",
    ),
    "Locks",
    (
        "locks", "locks list --limit 1", "locks --json",
        "locks remove 'lock:withQueueLock:reports:[{\"month\":11}]' --dry-run",
        "locks remove 'lock:withQueueLock:reports:[{\"month\":11}]' --yes", "locks remove lock:none",
    ),
    "Repair",
    ("doctor --help", "doctor --fix --dry-run", "doctor --fix", "doctor --fix --yes", "mark v1.2 --by ci",
     "pause", "pause", "resume"),
    "The project's tasks",
    (
        "task list", "task list --queue default --json", "task list --periodic",
        "task list --help", "task show sendWelcomeEmail", "task show sendWelcomeEmail --json-schema",
        "task enqueue sendWelcomeEmail to=ada@example.com",
        "task enqueue --name fetch_weather --args '{}' --in 1h --queue low --count 2 --dry-run",
        "task enqueue send_reminder --at 2099-01-01T00:00Z to=ada@example.com about=tea --dry-run",
        "task enqueue sendWelcomEmail", "task enqueue sendWelcomeEmail to=ada",
        "task run count_words text='to be or not to be'",
        "task run --name count_words --args '{\"text\":\"to be\"}'",
        "task explain sendWelcomeEmail", "task explain sendWelcomeEmail --queue low --json",
    ),
    "Tracked tasks",
    (
        "tracked create sendWelcomeEmail to=ada@example.com --id welcome-ada --tag mail --delay 1h",
        "tracked get welcome-ada", "tracked list",
        "tracked list --type sendWelcomeEmail --status scheduled,pending --due ..+2h --json",
        "tracked disable welcome-ada", "tracked enable welcome-ada --recompute",
        "tracked cancel welcome-ada", "tracked watch welcome-ada --until-ended",
        "tracked retry welcome-ada", "tracked remove welcome-ada",
        "tracked remove welcome-ada --yes", "tracked get welcome-ada",
        "tracked create --help", "tracked list --help", "tracked watch --help",
    ),
    "Many tracked tasks",
    (
        "tracked create sendWelcomeEmail to=bob@example.com --id welcome-bob --delay 1h --user bob",
        "tracked disable --type sendWelcomeEmail --status scheduled --user bob --dry-run",
        *(
            f"tracked {verb} --type sendWelcomeEmail --status scheduled,failed --tag mail --application a "
            "--user b --priority 0 --created -1d.. --modified -1h.. --completed ..now --due now..+1d"
            for verb in ("disable", "enable", "retry", "cancel", "remove")
        ),
        *(f"tracked {verb} --all --dry-run" for verb in ("disable", "enable", "retry", "cancel")),
        "tracked remove --all --dry-run", "tracked remove --all", "tracked remove --all --yes",
    ),
    "Running",
    (
        "worker --burst --queues default --max 1 --no-scheduler --log-level warning", "worker --help",
        "scheduler --help", "start --help",
        "web serve --help", "web link --help", "web users add --help", "web users list",
        "web users remove ann",
        "web token create --help", "web token list", "web token revoke --help",
    ),
    "The project",
    (
        "config show tasks.queues redis.namespace logger.level --origin", "config show tasks --changed --json",
        "console --code 'await api.tasks.failed_count()'",
        "new demo --dry-run --minimal", "new demo --name shop --force --help",
        "init --help", "generate task send_invoice --dry-run", "generate task --help",
        "generate plugin --name audit --description x --force --dry-run",
        "generate middleware --name stamp --description x --force --dry-run",
        "generate initializer --name geo --description x --force --dry-run",
        "generate command --name report --description x --force --dry-run",
        "generate config shop --dry-run", "generate config --help",
        "completion fish", "version",
    ),
)  # fmt: skip
