"""When a job is due: schedules, their arithmetic and the triggers made of them. Pure."""
