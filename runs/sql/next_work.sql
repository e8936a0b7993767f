-- Seconds to the earliest timer of the next second, and whether facts wait. Plans: run_wake, run_inbox.
SELECT
    (SELECT extract(epoch FROM min(wake_at) - clock_timestamp()) FROM run
        WHERE wake_at IS NOT NULL AND wake_at < clock_timestamp() + interval '1 second'),
    EXISTS (SELECT 1 FROM run_inbox)
