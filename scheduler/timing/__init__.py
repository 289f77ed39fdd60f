"""When a job is due: schedules, their arithmetic, and APScheduler triggers. Pure."""
