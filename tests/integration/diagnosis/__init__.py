"""Every verdict on a real pool: in threads and in tasks, by the watchdog and by the caller that times out."""
