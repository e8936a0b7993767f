"""The database itself refuses to change what a patch says, or to delete one (law 5); only how it stands changes."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION workflow_patch_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE'
        AND (OLD.id, OLD.workflow_id, OLD.tag, OLD.operations, OLD.author_kind, OLD.author_name, OLD.reason, OLD.base,
             OLD.created_at)
        IS NOT DISTINCT FROM
            (NEW.id, NEW.workflow_id, NEW.tag, NEW.operations, NEW.author_kind, NEW.author_name, NEW.reason, NEW.base,
             NEW.created_at)
        AND (OLD.author_run, OLD.evidence, OLD.read, OLD.grant, OLD.reverts, OLD.promoted_from)
        IS NOT DISTINCT FROM (NEW.author_run, NEW.evidence, NEW.read, NEW.grant, NEW.reverts, NEW.promoted_from)
        AND (OLD.version = '' OR (OLD.before, OLD.version, OLD.number)
        IS NOT DISTINCT FROM (NEW.before, NEW.version, NEW.number))
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'what a workflow patch says is never changed: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER workflow_patch_fixed BEFORE UPDATE OR DELETE ON workflow_patch
    FOR EACH ROW EXECUTE FUNCTION workflow_patch_refuse();
"""

BACKWARD = """
DROP TRIGGER workflow_patch_fixed ON workflow_patch;
DROP FUNCTION workflow_patch_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [("workflows", "0003_patches")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
