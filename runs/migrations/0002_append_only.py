"""The database itself refuses to change the log (law 2), also for the application's own role."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION run_event_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Retention deletes whole ended runs; it names the run that it is deleting in this setting.
    IF TG_OP = 'DELETE' AND current_setting('aob.retention', true) = OLD.run_id::text THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'run_event is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER run_event_append_only BEFORE UPDATE OR DELETE ON run_event
    FOR EACH ROW EXECUTE FUNCTION run_event_refuse();
CREATE TRIGGER run_event_no_truncate BEFORE TRUNCATE ON run_event
    FOR EACH STATEMENT EXECUTE FUNCTION run_event_refuse();
CREATE SEQUENCE lease_token;
ALTER TABLE run_inbox SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000);
ALTER TABLE task SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000);
"""

BACKWARD = """
DROP TRIGGER run_event_append_only ON run_event;
DROP TRIGGER run_event_no_truncate ON run_event;
DROP FUNCTION run_event_refuse();
DROP SEQUENCE lease_token;
"""


class Migration(migrations.Migration):
    dependencies = [("runs", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
