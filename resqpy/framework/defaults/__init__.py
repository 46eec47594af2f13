"""The sections of the config that resqpy reads, with their defaults; a file for each."""

from __future__ import annotations

from types import MappingProxyType

from resqpy.framework.defaults.general import GeneralConfig
from resqpy.framework.defaults.logger import LoggerConfig
from resqpy.framework.defaults.process import ProcessConfig
from resqpy.framework.defaults.redis import RedisConfig
from resqpy.framework.defaults.scheduler import SchedulerConfig
from resqpy.framework.defaults.tasks import TasksConfig

SECTIONS = MappingProxyType(
    {
        "general": GeneralConfig,
        "tasks": TasksConfig,
        "scheduler": SchedulerConfig,
        "redis": RedisConfig,
        "logger": LoggerConfig,
        "process": ProcessConfig,
    }
)

__all__ = [
    "SECTIONS",
    "GeneralConfig",
    "LoggerConfig",
    "ProcessConfig",
    "RedisConfig",
    "SchedulerConfig",
    "TasksConfig",
]
