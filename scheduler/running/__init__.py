"""From waiting to ended: dispatcher, runner, capture and recovery."""
