"""When: schedules, their arithmetic, and the clock that fires them."""
