"""A timetable whose data intervals are whole UTC days, each processed some hours after its end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable


class UtcDays(CronDataIntervalTimetable):
    """Data intervals from midnight to midnight UTC; a run starts ``delay`` after its interval.

    Airflow's own cron timetables tie the interval to the moment of the run: ``0 6 * * *`` would
    give intervals from six to six.
    """

    def __init__(self, delay: timedelta) -> None:
        super().__init__("0 0 * * *", "UTC")
        self._delay = delay
        self.description = f"Each UTC day, {delay} after its end"

    @property
    def summary(self) -> str:
        """What the list of Dags shows as the schedule."""
        return f"daily at {self._delay} UTC"

    def next_dagrun_info(
        self,
        *,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
    ) -> DagRunInfo | None:
        """The next day's run, later by the delay."""
        info = super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )
        return info and info._replace(run_after=info.run_after + self._delay)

    def serialize(self) -> dict[str, Any]:
        """The delay in seconds."""
        return {"delay": self._delay.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> UtcDays:
        """The inverse of ``serialize``."""
        return cls(timedelta(seconds=data["delay"]))


class UtcDaysPlugin(AirflowPlugin):
    """Registers the timetable in the scheduler and the API server."""

    name = "utc_days"
    timetables = [UtcDays]  # noqa: RUF012 (as Airflow declares it)
